package samples

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/kmod/slab"
)

// rawCall makes a call of a device with words as its argument, which are changed.
func rawCall(f *os.File, request uintptr, words []uint64) error {
	return rawAddress(f, request, uintptr(unsafe.Pointer(&words[0])))
}

func rawAddress(f *os.File, request, address uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, address); errno != 0 {
		return errno
	}
	return nil
}

// Numbers of the calls of shmheap_slab.h.
const (
	slabCreate = 0xc020b800
	slabAlloc  = 0xc018b801
	slabFree   = 0xc028b802
	slabStat   = 0x8030b803
)

func openSlab(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(slab.DevicePath, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func wantErrno(t *testing.T, what string, got error, want syscall.Errno) {
	t.Helper()
	if want == 0 && got != nil || want != 0 && !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestSlabRefuses: what the header forbids has the error that the header says.
func TestSlabRefuses(t *testing.T) {
	needGuest(t)
	f := openSlab(t)
	create := func(size, align, flags uint32, pad uint64) []uint64 {
		return []uint64{uint64(size) | uint64(align)<<32, uint64(flags), 0, pad}
	}
	for what, words := range map[string][]uint64{
		"size 0": create(0, 0, 0, 0), "size 7": create(7, 0, 0, 0), "size 65537": create(65537, 0, 0, 0),
		"size 1<<31": create(1<<31, 0, 0, 0), "alignment 3": create(64, 3, 0, 0), "alignment 8192": create(64, 8192, 0, 0),
		"flag 8": create(64, 0, 1<<8, 0), "all flags": create(64, 0, 1<<32-1, 0), "padding": create(64, 0, 0, 1),
	} {
		wantErrno(t, what, rawCall(f, slabCreate, words), syscall.EINVAL)
	}
	wantErrno(t, "alloc before create", rawCall(f, slabAlloc, []uint64{1, 0, 0}), syscall.ENXIO)
	wantErrno(t, "free before create", rawCall(f, slabFree, []uint64{0, 1, 1, 0, 0}), syscall.ENXIO)
	wantErrno(t, "stat before create", rawCall(f, slabStat, make([]uint64, 6)), syscall.ENXIO)
	wantErrno(t, "create", rawCall(f, slabCreate, create(64, 0, 0, 0)), 0)
	wantErrno(t, "create again", rawCall(f, slabCreate, create(64, 0, 0, 0)), syscall.EBUSY)
	wantErrno(t, "how", rawCall(f, slabAlloc, []uint64{1, 0, 1 << 3}), syscall.EINVAL)
	wantErrno(t, "padding of alloc", rawCall(f, slabAlloc, []uint64{1, 0, 1 << 32}), syscall.EINVAL)
	wantErrno(t, "stride 0", rawCall(f, slabFree, []uint64{0, 0, 1, 0, 0}), syscall.EINVAL)
	wantErrno(t, "alloc", rawCall(f, slabAlloc, []uint64{100, 0, 0}), 0)
	for _, words := range [][]uint64{{1 << 63, 1, 1, 0, 0}, {0, 1 << 63, 1<<64 - 1, 0, 0}, {99, 1<<64 - 1, 1<<64 - 1, 0, 0}, {100, 1, 1, 0, 0}} {
		wantErrno(t, "free at the border", rawCall(f, slabFree, words), 0)
	}
	s := make([]uint64, 6)
	if err := rawCall(f, slabStat, s); err != nil || s[1] != 98 {
		t.Errorf("%d live after two frees of 100: %v", s[1], err)
	}
	for what, request := range map[string]uintptr{"another size": 0xc028b801, "another number": 0xc018b804, "another direction": 0x4018b801, "none": 0} {
		wantErrno(t, what, rawCall(f, request, make([]uint64, 8)), syscall.ENOTTY)
	}
	for _, address := range []uintptr{0, 8, 1 << 62, 1<<64 - 8} {
		for _, request := range []uintptr{slabAlloc, slabFree, slabStat} {
			wantErrno(t, "a bad address", rawAddress(f, request, address), syscall.EFAULT)
		}
	}
}

// TestSlabNonsense makes random calls, many at once on one file. The kernel's complaints are the test's.
func TestSlabNonsense(t *testing.T) {
	needGuest(t)
	const callers, calls = 3, 1000
	seed := rand.Uint64()
	t.Logf("note: seed %d", seed)
	f := openSlab(t)
	done := make(chan bool)
	for n := range callers {
		go func() {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			for range calls {
				words := make([]uint64, 8)
				for i := range words {
					words[i] = random.Uint64() >> random.UintN(64)
				}
				requests := []uintptr{slabCreate, slabAlloc, slabFree, slabStat, uintptr(random.Uint32())}
				request := requests[random.IntN(len(requests))]
				if request == slabAlloc { // or it takes the whole time to fill and empty the cache
					words[0] %= 3000
				}
				_ = rawCall(f, request, words)
			}
			done <- true
		}()
	}
	for range callers {
		<-done
	}
}
