//go:build !shmheap_portable

package sys

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestWaitInMemoryOfADevice: where futex(2) cannot wait, as the pages are of no file, Wait does as it says all the same. The
// pages are those of a BPF map.
func TestWaitInMemoryOfADevice(t *testing.T) {
	const array, mmapable = 2, 1 << 10
	f, err := MapCreate(&MapSpec{Type: array, KeySize: 4, ValueSize: 4096, MaxEntries: 1, Flags: mmapable, Name: "words"})
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ENOSYS) || errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	memory, unmap, err := MapPages(f, 0, int(PageSize()), true)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	w := mem.Over(memory).Half(4)
	begin := time.Now()
	if err := Wait(w, 0, 50*time.Millisecond); !errors.Is(err, ErrTimeout) || time.Since(begin) < 50*time.Millisecond {
		t.Errorf("nobody wakes: %v after %v", err, time.Since(begin))
	}
	time.AfterFunc(10*time.Millisecond, func() { w.Swap(1) })
	if err := Wait(w, 0, -1); err != nil || w.Load() != 1 {
		t.Errorf("the word is changed: %v", err)
	}
	if n, err := Wake(w, 1); err != nil || n != CannotTell {
		t.Errorf("wake: %d, %v", n, err)
	}
}
