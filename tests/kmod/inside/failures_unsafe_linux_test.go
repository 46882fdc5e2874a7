package inside

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod"
)

// failures are what makes a chosen allocation of one thread fail, where the kernel can do that
// (Documentation/fault-injection).
const (
	failures = "/proc/thread-self/fail-nth"
	mostNth  = 400
)

// everyAllocation lets those fail that may wait, too, and each size, and has nothing printed.
func everyAllocation(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(failures); errors.Is(err, os.ErrNotExist) {
		shmtest.SkipAnywhere(t, "this kernel cannot make allocations fail")
	}
	for path, value := range map[string]string{
		"failslab/ignore-gfp-wait": "N", "failslab/verbose": "0", "fail_page_alloc/ignore-gfp-wait": "N",
		"fail_page_alloc/ignore-gfp-highmem": "N", "fail_page_alloc/min-order": "0", "fail_page_alloc/verbose": "0",
	} {
		if err := os.WriteFile(filepath.Join("/sys/kernel/debug", path), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// failing makes a call again and again, with each of its allocations failing once, until it makes no more. undo
// undoes a call that succeeded. It returns how many failures there were. What the call may answer then is want of
// memory, or nothing: not every allocation is needed.
func failing(t *testing.T, call func() syscall.Errno, undo func()) (failed int) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := syscall.Open(failures, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for nth := 1; nth < mostNth; nth++ {
		want := []byte(strconv.Itoa(nth))
		left := make([]byte, 16)
		_, err := syscall.Pwrite(fd, want, 0)
		errno := call()
		n, err2 := syscall.Pread(fd, left, 0)
		_, err3 := syscall.Pwrite(fd, []byte("0"), 0)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		if errno == 0 {
			undo()
		} else if errno != syscall.ENOMEM && errno != syscall.ENFILE && errno != syscall.ENOSPC {
			t.Errorf("with allocation %d failing: %v", nth, errno)
		}
		if strings.TrimSpace(string(left[:n])) != "0" {
			return nth - 1
		}
	}
	t.Errorf("more than %d allocations", mostNth)
	return mostNth
}

func ioctl(fd int, number uintptr, b []byte) syscall.Errno {
	var at unsafe.Pointer
	if len(b) > 0 {
		at = unsafe.Pointer(&b[0])
	}
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), number, uintptr(at))
	return errno
}

// argument makes an argument of a call with numbers at places.
func argument(bytes int, words map[int]uint32) []byte {
	b := make([]byte, bytes)
	put32(b, uint32(bytes))
	for at, v := range words {
		put32(b[at:], v)
	}
	return b
}

// TestFailures makes every single allocation of every call fail, and looks whether all is as before.
func TestFailures(t *testing.T) {
	everyAllocation(t)
	d := device(t)
	before := must[kmod.Info](t)(d.Info())
	device := must[int](t)(syscall.Open(kmod.DevicePath, syscall.O_RDWR|syscall.O_CLOEXEC, 0))
	defer syscall.Close(device)
	create := argument(112, map[int]uint32{92: 64, 96: 4})
	copy(create[8:], newName())
	put64(create[72:], 0x5600_0000_0000)
	put64(create[80:], 1<<20)
	closing := func(b []byte, at int) func() {
		return func() { _ = syscall.Close(int(*(*int32)(unsafe.Pointer(&b[at])))) }
	}
	note := func(what string, n int) {
		t.Logf("note: %s: %d allocations failed", what, n)
		if n == 0 {
			t.Errorf("no allocation of %s failed", what)
		}
	}
	note("create", failing(t, func() syscall.Errno { return ioctl(device, 0xc070b701, create) }, closing(create, 100)))
	if errno := ioctl(device, 0xc070b701, create); errno != 0 {
		t.Fatal(errno)
	}
	fd := int(*(*int32)(unsafe.Pointer(&create[100])))
	defer syscall.Close(fd)
	open := argument(104, nil)
	copy(open[8:], create[8:72])
	note("open", failing(t, func() syscall.Errno { return ioctl(device, 0xc068b702, open) }, closing(open, 96)))
	stream := argument(24, nil)
	note("stream", failing(t, func() syscall.Errno { return ioctl(fd, 0xc018b714, stream) }, closing(stream, 16)))
	channel := uint32(0)
	note("copies", failing(t, func() syscall.Errno {
		return ioctl(fd, 0xc018b715, argument(24, map[int]uint32{8: channel, 12: 4, 16: 4096}))
	}, func() { channel++ }))
	storage := int64(0)
	note("storage", failing(t, func() syscall.Errno { return fallocate(fd, 0, storage, 1<<17) }, func() { storage += 1 << 17 }))
	note("touch", touchAll(t, fd, 1<<20))
	_ = syscall.Close(fd)
	eventually(t, "nothing is left", func() bool {
		after := must[kmod.Info](t)(d.Info())
		return after.Instances == before.Instances && after.Used == before.Used
	})
	works(t, d)
}

// touchAll makes every allocation fail of who touches granules that have no storage, one after another from the region's
// end on. It must be a bus error when there is no memory, and not be tried for ever.
func touchAll(t *testing.T, fd int, bytes uintptr) (failed int) {
	t.Helper()
	const base, granule = 0x5600_0000_0000, 1 << 16
	if errno := fallocate(fd, 3, 0, int64(bytes)); errno != 0 {
		t.Fatal(errno)
	}
	must[uintptr](t)(mmap(base, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED, fd, 0))
	b, at, refused := memory(base, bytes), int(bytes)-granule, 0
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	failed = failing(t, func() (errno syscall.Errno) {
		defer func() {
			if recover() != nil {
				errno = syscall.ENOMEM
				refused++
			}
		}()
		b[at]++
		return 0
	}, func() { at -= granule })
	if refused == 0 {
		t.Error("no touch without memory was a bus error")
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_MUNMAP, base, bytes, 0); errno != 0 {
		t.Error(errno)
	}
	return failed
}

func fallocate(fd int, mode uint32, off, n int64) syscall.Errno {
	err := syscall.Fallocate(fd, mode, off, n)
	errno, _ := errors.AsType[syscall.Errno](err)
	return errno
}
