package blackbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

func init() { programs["squatter"] = runSquatter }

const (
	squat  = 128 << 10 // bytes that the squatter maps
	canary = 0xca9a27ca9a27
	// MAP_FIXED_NOREPLACE: package syscall is older than the flag.
	mapFixedNoReplace = 0x100000
)

// runSquatter maps a file, or anonymous memory when its name is empty, at an address, and tries to open
// the heap, which wants it: squatter DIR ADDRESS FILE.
func runSquatter() error {
	address, err := strconv.ParseUint(os.Args[2], 0, 64)
	if err != nil {
		return err
	}
	words, err := occupy(uintptr(address), os.Args[3])
	if err != nil {
		return err
	}
	h, err := heap.Open(heapName, &heap.Options{Dir: os.Args[1]})
	for i, word := range words {
		if word != canary {
			return fmt.Errorf("word %d of the squatter is %#x", i, word)
		}
	}
	if err == nil {
		fmt.Println("opened")
		return h.Close()
	}
	taken, ok := errors.AsType[*probe.TakenError](err)
	if !ok || !errors.Is(err, probe.ErrTaken) || len(taken.Mappings) != 1 {
		return fmt.Errorf("error %w", err)
	}
	m := taken.Mappings[0]
	fmt.Println(m.Start, m.End, m.Path)
	fmt.Println(err)
	shmtest.Listen()
	return nil
}

// occupy maps memory at an address and puts a canary into each word.
func occupy(address uintptr, path string) ([]uint64, error) {
	flags, fd := syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0)
	if path != "" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		flags, fd = syscall.MAP_SHARED, f.Fd()
	}
	at, _, errno := syscall.Syscall6(syscall.SYS_MMAP, address, squat,
		syscall.PROT_READ|syscall.PROT_WRITE, uintptr(flags|mapFixedNoReplace), fd, 0)
	if errno != 0 || at != address {
		return nil, fmt.Errorf("mmap at %#x: %#x, %w", address, at, errno)
	}
	words := unsafe.Slice(*(**uint64)(unsafe.Pointer(&at)), squat/8)
	for i := range words {
		words[i] = canary
	}
	return words, nil
}

// TestRangeTaken: a process that has something where the heap belongs is told what, and keeps it.
func TestRangeTaken(t *testing.T) {
	b := newBox(t, 64<<20)
	file := filepath.Join(t.TempDir(), "library.so")
	if err := os.WriteFile(file, make([]byte, squat), 0o600); err != nil {
		t.Fatal(err)
	}
	base, end := b.Base(), b.Base()+b.Size()
	for where, address := range map[string]uint64{
		"start": base, "middle": base + b.Size()/2, "end": end - squat, "over the start": base - squat/2, "over the end": end - squat/2,
	} {
		for _, path := range []string{"", file} {
			t.Run(where+" "+filepath.Base(path), func(t *testing.T) {
				p := shmtest.Start(t, "squatter", b.dir, fmt.Sprint(address), path)
				want := fmt.Sprintln(address, address+squat, path)
				if got := p.Hear() + "\n"; got != want {
					t.Errorf("in the way is %q, want %q", got, want)
				}
				t.Log(p.Hear())
				p.Tell("end")
				p.Succeed()
			})
		}
	}
	for _, address := range []uint64{base - squat, end} { // neighbours are not in the way
		p := shmtest.Start(t, "squatter", b.dir, fmt.Sprint(address), "")
		p.Want("opened")
		p.Succeed()
	}
}
