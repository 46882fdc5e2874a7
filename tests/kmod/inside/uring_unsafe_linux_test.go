package inside

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod"
)

// From include/uapi/linux/io_uring.h.
const (
	uringSetup, uringEnter = 425, 426
	uringEntries           = 4
	uringSubmissions       = 0x10000000 // where mmap finds them
	uringGetEvents         = 1
	uringPollAdd           = 6
	uringPollMulti         = 1
)

// uring is an io_uring that has one request.
type uring struct {
	fd         int
	completed  *uint32 // how many there have been
	head       *uint32 // how many of them have been taken
	submitted  *uint32
	submission []byte
}

func newURing(t *testing.T) *uring {
	t.Helper()
	params := make([]byte, 120)
	fd, _, errno := syscall.Syscall(uringSetup, uringEntries, uintptr(addressOf(params)), 0)
	if errors.Is(errno, syscall.ENOSYS) || errors.Is(errno, syscall.EPERM) {
		shmtest.SkipAnywhere(t, "no io_uring: "+errno.Error())
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	t.Cleanup(func() { _ = syscall.Close(int(fd)) })
	word := func(at int) uintptr { return uintptr(binary.NativeEndian.Uint32(params[at:])) }
	const submissions, completions = 40, 80 // offsets of what the kernel says of them
	all := max(word(submissions+24)+4*uringEntries, word(completions+20)+16*word(4))
	access := syscall.PROT_READ | syscall.PROT_WRITE
	rings := must[uintptr](t)(mmap(0, all, access, syscall.MAP_SHARED, int(fd), 0))
	entries := must[uintptr](t)(mmap(0, 64*uringEntries, access, syscall.MAP_SHARED, int(fd), uringSubmissions))
	at := func(off uintptr) *uint32 { return (*uint32)(unsafe.Pointer(&memory(rings+off, 4)[0])) }
	return &uring{
		fd: int(fd), completed: at(word(completions + 4)), head: at(word(completions)), submitted: at(word(submissions + 4)),
		submission: memory(entries, 64),
	}
}

// poll asks for a completion each time that there is something to read.
func (u *uring) poll(t *testing.T, fd int) {
	t.Helper()
	u.submission[0] = uringPollAdd
	put32(u.submission[4:], uint32(fd))
	put32(u.submission[24:], uringPollMulti)
	put32(u.submission[28:], 1) // POLLIN
	atomic.AddUint32(u.submitted, 1)
	if n := u.enter(t, 1); n != 1 {
		t.Fatalf("%d submitted", n)
	}
}

// enter submits requests, and lets the kernel post what has completed.
func (u *uring) enter(t *testing.T, submit uintptr) int {
	t.Helper()
	n, _, errno := syscall.Syscall6(uringEnter, uintptr(u.fd), submit, 0, uringGetEvents, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return int(n)
}

// take takes the completions that there are, and reports whether there are any.
func (u *uring) take(t *testing.T) bool {
	t.Helper()
	u.enter(t, 0)
	completed := atomic.LoadUint32(u.completed)
	return atomic.SwapUint32(u.head, completed) != completed
}

// TestURing: who has asked once, for all times, is told each time. The descriptor is in nothing else that polls.
func TestURing(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 6})
	f := must[*os.File](t)(i.File())
	defer f.Close()
	arg := make([]byte, 24)
	put32(arg, 24)
	put32(arg[4:], 1) // NONBLOCK
	if errno := ioctl(int(f.Fd()), 0xc018b714, arg); errno != 0 {
		t.Fatal(errno)
	}
	fd := int(binary.NativeEndian.Uint32(arg[16:]))
	defer syscall.Close(fd)
	u := newURing(t)
	u.poll(t, fd)
	records, written := must[kmod.Word](t)(i.Control(wordRecords)), must[kmod.Word](t)(i.Control(wordWritten))
	ask, answer := must[kmod.Word](t)(i.Control(wordAsk)), must[kmod.Word](t)(i.Control(wordAnswer))
	for range 5 {
		before := written.Load()
		records.Store(1)
		eventually(t, "a record is written", func() bool { return written.Load() != before })
		records.Store(0)
		eventually(t, "it is told", func() bool { return u.take(t) })
		next := ask.Add(1)
		eventually(t, "the last tick passes", func() bool { return answer.Load() == next })
		for buf, n := make([]byte, 4096), 1; n > 0; {
			n, _ = syscall.Read(fd, buf) // until EAGAIN
		}
		u.take(t)
	}
}
