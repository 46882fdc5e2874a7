// Command attach is the Go program of the proof: it opens a heap, changes what is in it, and keeps its
// collector busy meanwhile. It does the same as testdata/attach.c, with the same variables:
//
//	SHMHEAP_PROOF_HEAP   path of the heap; without it the program ends at once
//	SHMHEAP_PROOF_OUT    file to which it appends what became of it
//	SHMHEAP_PROOF_SQUAT  if set, it first maps something in the middle of the heap's range
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"structs"
	"sync"
	"sync/atomic"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/probe"
)

// board is what all programs share. The test has its own copy of this declaration.
type board struct {
	_ structs.HostLayout

	Self *board // its own address, as its maker saw it
	Came atomic.Uint64
	Work atomic.Uint64
	Left atomic.Uint64
}

const (
	rounds  = 250 // steps of each worker
	workers = 4
)

func main() {
	path := os.Getenv("SHMHEAP_PROOF_HEAP")
	if path == "" {
		return
	}
	if err := run(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	out, err := os.OpenFile(os.Getenv("SHMHEAP_PROOF_OUT"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	info, err := heap.Stat(path, nil)
	if err != nil {
		return err
	}
	region := probe.Range{Start: info.Base, End: info.Base + info.Size}
	squat, err := occupy(region)
	if err != nil {
		return err
	}
	h, err := heap.Open(path, nil)
	if err != nil {
		return refused(out, err, region, squat)
	}
	if err := use(h, out); err != nil {
		return err
	}
	if err := h.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "left")
	return err
}

// occupy reserves a granule in the middle of the region when it is told to, and returns what it may
// have taken, guards included.
func occupy(region probe.Range) (probe.Range, error) {
	const granule = 1 << 16
	if os.Getenv("SHMHEAP_PROOF_SQUAT") == "" {
		return probe.Range{}, nil
	}
	middle := region.Start + region.Size()/2
	_, err := probe.Reserve(middle, granule)
	return probe.Range{Start: middle - granule, End: middle + 2*granule}, err
}

// refused says which of the expected errors it was, once the region is empty but for the squat.
func refused(out *os.File, err error, region, squat probe.Range) error {
	mappings, mapsErr := probe.Self()
	if mapsErr != nil {
		return mapsErr
	}
	for _, m := range mappings {
		if m.Overlaps(region) && (m.Start < squat.Start || m.End > squat.End) {
			return fmt.Errorf("left behind: %v, after: %w", m, err)
		}
	}
	switch {
	case errors.Is(err, probe.ErrAddressLimit):
		_, err = fmt.Fprintln(out, "refused: address limit")
	case errors.Is(err, probe.ErrTaken):
		_, err = fmt.Fprintln(out, "refused: taken")
	}
	return err
}

// use changes the board and allocates in the heap, from several goroutines that leave garbage behind.
func use(h *heap.Heap, out *os.File) error {
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	b, err := alloc.LoadRoot[board](a, "board")
	if err != nil {
		return err
	}
	if b.Self != b {
		return fmt.Errorf("the board is at %p and was made at %p", b, b.Self)
	}
	if _, err := fmt.Fprintf(out, "attached %#x %d\n", h.Base(), b.Came.Add(1)); err != nil {
		return err
	}
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = work(a, b) })
	}
	all.Wait()
	b.Left.Add(1)
	return errors.Join(errs...)
}

func work(a *alloc.Allocator, b *board) error {
	var garbage [8][]byte
	for i := range rounds {
		other, err := alloc.New[board](a)
		if err != nil {
			return err
		}
		other.Self = b.Self
		other.Self.Work.Add(1)
		if err := alloc.Delete(a, other); err != nil {
			return err
		}
		garbage[i%len(garbage)] = make([]byte, 64<<10)
		if i%(rounds/5) == 0 {
			runtime.GC()
		}
	}
	return nil
}
