package alloc

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
)

// Frame is a place in a program.
type Frame struct {
	Function string // its name with its package
	File     string // as the program was built
	Line     int    // in File
}

// Sample is what one call site of one peer holds. A site whose entry was lost has no peer and no stack.
type Sample struct {
	Peer    heap.PeerID // who allocated
	Program string      // its name
	Stack   []Frame     // innermost first
	Sampled uint64      // blocks in use that are samples
	Blocks  uint64      // estimate of the blocks in use for which they stand
	Bytes   uint64      // estimate of the bytes that were asked for
}

// Profile returns who holds the memory: for each site the samples that are in use, whoever allocated them, dead
// peers included, largest first. A sample of size bytes was taken with probability p = 1 - exp(-size/rate),
// and so stands for 1/p blocks. It walks the states and bitmaps; with peers at work it is a blurred picture. It
// returns ErrClosed.
func (a *Allocator) Profile() ([]Sample, error) {
	if err := a.enter(); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer a.leave()
	found := make(map[siteText]*estimate)
	texts := make(map[uint32]siteText)
	for number, size := range a.everySample {
		t, known := texts[number]
		if !known {
			t, _ = a.readSite(number)
			texts[number] = t
		}
		if found[t] == nil {
			found[t] = new(estimate)
		}
		found[t].add(size, cmp.Or(t.rate, a.super.ProfileRate.Load(), DefaultProfileRate))
	}
	var samples []Sample
	for t, e := range found {
		samples = append(samples, e.sample(t))
	}
	slices.SortFunc(samples, func(x, y Sample) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Peer, y.Peer))
	})
	return samples, nil
}

// everySample yields the site and the size of each sample in use.
func (a *Allocator) everySample(yield func(site uint32, size uint64) bool) {
	for g := a.first; g < a.frontier(); g++ {
		s := layout.State(a.states[g].Load())
		if !s.Valid() || s.Kind() == layout.KindTail || s.Run() > a.limit-g {
			continue
		}
		switch {
		case s.Kind() == layout.KindLarge:
			if w := a.large(g).Sample.Load(); w&layout.SampleLarge != 0 && !yield(uint32(w), s.Run()<<layout.GranuleShift) {
				return
			}
		case s.Flags()&layout.FlagSampled != 0 && a.hasStorage((a.tables.Fine+g*layout.FineSize)>>layout.GranuleShift):
			if !a.samplesIn(a.slab(g, s), yield) {
				return
			}
		}
	}
}

// eachSample is samplesIn for a loop.
func (a *Allocator) eachSample(s slab) func(func(uint32, uint64) bool) {
	return func(yield func(uint32, uint64) bool) { a.samplesIn(s, yield) }
}

func (a *Allocator) samplesIn(s slab, yield func(site uint32, size uint64) bool) bool {
	p, words := &a.bitmap[s.class], a.samples(s.head)
	for i := range s.local {
		used := ^(s.local[i].Load() | s.remote[i].Load()) & p.valid(uint64(i))
		for ; used != 0; used &= used - 1 {
			w := words.Blocks[i*64+bits.TrailingZeros64(used)].Load()
			if !yield(uint32(w), w>>32) {
				return false
			}
		}
	}
	return true
}

// estimate sums up samples of one site.
type estimate struct {
	sampled       uint64
	blocks, bytes float64
}

func (e *estimate) add(size, rate uint64) {
	class := size
	if size <= layout.MaxSmall {
		class = uint64(layout.Classes[layout.ClassOf(size)].Size) // which the draw went by
	}
	p := chance(class, rate)
	e.sampled++
	e.blocks += 1 / p
	e.bytes += float64(size) / p
}

func (e *estimate) sample(t siteText) Sample {
	program, stack, _ := strings.Cut(t.text, "\n")
	s := Sample{
		Peer: t.peer, Program: program, Sampled: e.sampled,
		Blocks: uint64(math.Round(e.blocks)), Bytes: uint64(math.Round(e.bytes)),
	}
	for line := range strings.SplitSeq(stack, "\n") {
		if function, place, ok := strings.Cut(line, "\t"); ok {
			s.Stack = append(s.Stack, parseFrame(function, place))
		}
	}
	return s
}

func parseFrame(function, place string) Frame {
	i := max(strings.LastIndexByte(place, ':'), 0)
	line, _ := strconv.Atoi(strings.TrimPrefix(place[i:], ":"))
	return Frame{Function: function, File: place[:i], Line: line}
}
