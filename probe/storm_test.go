package probe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
)

const (
	stormGranules = 64 // of addresses that everybody fights for
	stormLargest  = 12 // granules in one mapping
)

// TestStormReplacesNothing lets goroutines map and unmap memory of their own, where reservations are
// made, mapped and released at the same time, and anywhere else. Each mapping of either kind holds a
// canary for as long as it lives.
func TestStormReplacesNothing(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	eachWay(t, func(t *testing.T, take way) {
		random := seeded(t)
		base := area(t) + mib
		var all sync.WaitGroup
		for i := range uint64(3) {
			foreigner := &foreigner{random: random(2 * i), base: base, f: tempFile(t, stormLargest*Guard), canary: 2*i + 1}
			all.Go(func() { storm(t, rounds, foreigner.step, foreigner.end) })
			holder := &holder{random: random(2*i + 1), base: base, f: tempFile(t, stormLargest*Guard), canary: 2*i + 2, take: take}
			all.Go(func() { storm(t, rounds, holder.step, holder.end) })
		}
		all.Wait()
	})
}

func storm(t *testing.T, rounds int, step, end func() error) {
	for i := range rounds {
		if err := orFault(step); err != nil {
			t.Errorf("round %d: %v", i, err)
			break
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// place draws a range of the contested addresses.
func place(random *rand.Rand, base uint64) Range {
	size := 1 + random.Uint64N(stormLargest)
	start := base + random.Uint64N(stormGranules-size)*Guard
	return Range{start, start + size*Guard}
}

// foreigner stands for the rest of the process: malloc, a loader, a runtime.
type foreigner struct {
	random *rand.Rand
	base   uint64
	f      *os.File
	canary uint64
	held   []*foreign
	heap   []byte
}

func (a *foreigner) step() error {
	span := place(a.random, a.base)
	if a.random.IntN(4) == 0 {
		span = Range{0, span.Size()} // wherever the kernel likes
	}
	o, ok, err := occupy(a.f, span, a.canary)
	if err != nil {
		return err
	}
	if ok {
		a.held = append(a.held, o)
	}
	a.heap = make([]byte, a.random.IntN(1<<16)) // Go's own memory moves too
	for _, o := range a.held {
		if err := o.check(); err != nil {
			return err
		}
	}
	if len(a.held) < 3 {
		return nil
	}
	return a.drop()
}

func (a *foreigner) drop() error {
	o := a.held[0]
	a.held = a.held[1:]
	return o.leave()
}

func (a *foreigner) end() error {
	defer runtime.KeepAlive(a.heap)
	var err error
	for len(a.held) > 0 {
		err = errors.Join(err, a.held[0].check(), a.drop())
	}
	return err
}

// holder makes reservations and checks that what it maps there stays.
type holder struct {
	random *rand.Rand
	base   uint64
	f      *os.File
	canary uint64
	take   way
	r      *Reservation
	memory mem.Memory
}

func (h *holder) step() error {
	if h.r != nil {
		return h.end()
	}
	span := place(h.random, h.base)
	r, err := reserve(span.Start, span.Size(), h.take)
	switch {
	case errors.Is(err, ErrTaken):
		return nil
	case errors.Is(err, ErrRefused): // a hint met a mapping that was gone when we looked
		return nil
	case err != nil:
		return err
	}
	h.r = r
	if h.random.IntN(4) == 0 {
		return nil // released without having been mapped
	}
	if h.memory, err = r.Map(h.f, true); err != nil {
		return err
	}
	for off := uint64(0); off < span.Size(); off += Guard {
		*mem.View[uint64](h.memory, off) = h.canary
	}
	return nil
}

func (h *holder) end() error {
	if h.r == nil {
		return nil
	}
	var err error
	if h.memory.Size() > 0 {
		ours := &foreign{h.r.Range(), h.memory, h.canary}
		err = ours.check()
	}
	err = errors.Join(err, h.r.Release())
	h.r, h.memory = nil, mem.Memory{}
	if err != nil {
		return fmt.Errorf("reservation: %w", err)
	}
	return nil
}
