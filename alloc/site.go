package alloc

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"reflect"
	"runtime"
	"strings"
	"sync"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// sites knows the numbers of the sites of this process, so that it writes each into the heap once.
type sites struct {
	mu     sync.Mutex
	rate   uint64 // of those in number
	number map[stack]uint32
}

// stack is the return addresses of a goroutine, innermost first.
type stack [siteFrames]uintptr

const (
	siteFrames = 32 // of a stack that are remembered
	siteProbes = 64 // entries that are looked at
)

// ownFunctions is what the names of this package's functions begin with.
var ownFunctions = reflect.TypeFor[Allocator]().PkgPath() + "."

// here returns the number of the calling site, 0 when the table has no room for it.
func (s *sites) here(a *Allocator) uint32 {
	var pcs stack
	runtime.Callers(3, pcs[:])
	rate := a.super.ProfileRate.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.number == nil || s.rate != rate {
		s.number, s.rate = make(map[stack]uint32), rate
	}
	n, known := s.number[pcs]
	if !known {
		n = a.makeSite(pcs.text(), rate)
		s.number[pcs] = n
	}
	return n
}

// text is what a Site says: the program, and the frames behind those of this package.
func (s *stack) text() string {
	var b strings.Builder
	b.WriteString(sys.ProgramName())
	frames := runtime.CallersFrames(s[:])
	for outside, more := false, true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		outside = outside || !strings.HasPrefix(f.Function, ownFunctions) || strings.HasSuffix(f.File, "_test.go")
		line := fmt.Sprintf("\n%s\t%s:%d", f.Function, f.File, f.Line)
		if b.Len()+len(line) > layout.SiteWords*8 {
			break
		}
		if outside && f.Function != "" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// makeSite finds an entry of the table for the text and returns its number, or 0.
func (a *Allocator) makeSite(text string, rate uint64) uint32 {
	h := fnv.New64a()
	h.Write([]byte(text))
	n := uint64(a.siteCount)
	first := h.Sum64() % n
	for i := range min(n, siteProbes) {
		at := (first + i) % n
		if a.claimSite(at, nil) {
			return a.writeSite(at, text, rate)
		}
	}
	used := a.usedSites()
	for i := range min(n, siteProbes) {
		at := (first + i) % n
		if a.claimSite(at, used) {
			return a.writeSite(at, text, rate)
		}
	}
	return 0
}

// claimSite makes an entry this peer's that nobody has, or that a dead peer left half written, or, when used
// says which are, one of a dead peer that no block refers to: none will again.
func (a *Allocator) claimSite(at uint64, used map[uint32]bool) bool {
	off := a.tables.Sites + at*layout.SiteSize
	if !a.hasStorage(off>>layout.GranuleShift) && a.region.Commit(off, layout.SiteSize) != nil {
		return false
	}
	w := &a.site(at).State
	state := w.Load()
	if state != 0 {
		ready := state&cacheStateMask == layout.SiteReady
		if ready && (used == nil || used[uint32(at+1)]) {
			return false
		}
		alive, err := a.region.Alive(ownerPeer(state))
		if err != nil || alive {
			return false
		}
	}
	return w.CompareAndSwap(state, cacheOwner(layout.SiteClaimed, a.region.Peer()))
}

func (a *Allocator) writeSite(at uint64, text string, rate uint64) uint32 {
	crashpoint.Hit("alloc.site.after-claim")
	s := a.site(at)
	s.Rate.StoreRelease(rate)
	s.Length.StoreRelease(uint64(len(text)))
	padded := append([]byte(text), make([]byte, 8)...)
	for i := range (len(text) + 7) / 8 {
		s.Text[i].StoreRelease(binary.LittleEndian.Uint64(padded[8*i:]))
	}
	crashpoint.Hit("alloc.site.before-ready")
	s.State.StoreRelease(cacheOwner(layout.SiteReady, a.region.Peer()))
	return uint32(at + 1)
}

func (a *Allocator) site(at uint64) *layout.Site {
	return mem.View[layout.Site](a.memory, a.tables.Sites+at*layout.SiteSize)
}

// usedSites returns the numbers that blocks in use refer to.
func (a *Allocator) usedSites() map[uint32]bool {
	used := make(map[uint32]bool)
	for n := range a.everySample {
		used[n] = true
	}
	return used
}

// siteText is what a site says, when it says something.
type siteText struct {
	peer heap.PeerID
	rate uint64
	text string
}

// readSite reads the site of that number. It may be taken by somebody else meanwhile, and is not there then.
func (a *Allocator) readSite(number uint32) (t siteText, ok bool) {
	at := uint64(number) - 1
	if at >= a.siteCount || !a.hasStorage((a.tables.Sites+at*layout.SiteSize)>>layout.GranuleShift) {
		return t, false
	}
	s := a.site(at)
	state, length := s.State.Load(), s.Length.Load()
	if state&cacheStateMask != layout.SiteReady || length > layout.SiteWords*8 {
		return t, false
	}
	var text []byte
	for i := range (length + 7) / 8 {
		text = binary.LittleEndian.AppendUint64(text, s.Text[i].Load())
	}
	t = siteText{peer: ownerPeer(state), rate: s.Rate.Load(), text: strings.ToValidUTF8(string(text[:length]), "?")}
	return t, t.rate != 0 && s.State.Load() == state
}
