package arena

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// freeSuffix is what the name of the program that gives storage back has behind that of its arena.
const freeSuffix = "-free"

// Region is the arena of an open heap. Its methods may be called by any number of goroutines.
type Region struct {
	file       *os.File
	path       string // in a file system for BPF objects, "" for none
	base, size uint64
	free       *bpf.Program // gives pages back, nil where there is none
	freeErr    error        // why there is none
}

// Of returns the region of an open heap. It returns ErrHeap for one that is not in an arena.
func Of(h *heap.Heap) (*Region, error) {
	r, ok := h.Kernel().(*Region)
	if !ok {
		return nil, fmt.Errorf("heap %q: %w", h.Name(), ErrHeap)
	}
	return r, nil
}

// File implements heap.KernelRegion.
func (r *Region) File() *os.File { return r.file }

// FreeFile returns the descriptor of the program by which storage is given back, to be sent along with
// Heap.KernelFile's, and why there is none: the kernel lacks the function or its types. It stays the region's.
func (r *Region) FreeFile() (*os.File, error) {
	if r.free == nil {
		return nil, r.freeErr
	}
	return r.free.File(), nil
}

// Base returns the address of the arena in every process.
func (r *Region) Base() uint64 { return r.base }

// Commit implements heap.KernelRegion: programs lose what they store to a page that nobody has touched yet, so
// all are touched.
func (r *Region) Commit(off, n uint64) error {
	err := sys.PopulateAt(r.base+off, n)
	if errors.Is(err, sys.EFAULT) || errors.Is(err, sys.ENOMEM) {
		err = fmt.Errorf("%w: %w", heap.ErrNoSpace, err)
	}
	return err
}

// Decommit implements heap.KernelRegion.
func (r *Region) Decommit(off, n uint64) error {
	if r.free == nil {
		return fmt.Errorf("give pages back: %w: %w", errors.ErrUnsupported, r.freeErr)
	}
	context := make([]byte, 16)
	binary.LittleEndian.PutUint64(context, r.base+off)
	binary.LittleEndian.PutUint64(context[8:], n/sys.PageSize())
	_, err := r.free.Run(context)
	return err
}

// Close implements heap.KernelRegion.
func (r *Region) Close() error {
	var errs []error
	if r.file != nil {
		errs = append(errs, r.file.Close())
	}
	if r.free != nil {
		errs = append(errs, r.free.Close())
	}
	return errors.Join(errs...)
}

// loadFree loads the program that gives pages back. Its context is an address and a number of pages.
func loadFree(r *Region) (*bpf.Program, error) {
	kernel, err := bpf.RunningKernel()
	if err != nil {
		return nil, err
	}
	function, err := kernel.Function("bpf_arena_free_pages")
	if err != nil {
		return nil, err
	}
	return bpf.Load(&bpf.Spec{Name: "shmheap_free", Type: bpf.Syscall, Code: []bpf.Instruction{
		bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R1, 0),
		bpf.LoadFrom(bpf.Bits64, bpf.R3, bpf.R1, 8),
		r.Map(bpf.R1),
		bpf.CallKernel(function),
		bpf.Set32(bpf.R0, 0),
		bpf.Exit(),
	}})
}

func (r *Region) adoptFree(f *os.File, err error) {
	if r.freeErr = err; err == nil {
		r.free = bpf.FromFile(f)
	}
}

// pin gives arena and program their names, and to those who may open them.
func (r *Region) pin(path string, w whose) error {
	if err := sys.ObjectPin(r.file, path); err != nil {
		return err
	}
	if err := w.own(path, 0o600); err != nil || r.free == nil {
		return err
	}
	if err := r.free.Pin(path + freeSuffix); err != nil {
		return err
	}
	return w.own(path+freeSuffix, 0o600)
}

// Map is the instruction dst = the arena. A program must have it, before it casts anything.
func (r *Region) Map(dst bpf.Register) bpf.Instruction { return bpf.Map(dst, int(r.file.Fd())) }

// Path is the name of the arena in a file system for BPF objects, "" for one that goes by descriptor. Programs that belong
// to the heap may be pinned beside it.
func (r *Region) Path() string { return r.path }
