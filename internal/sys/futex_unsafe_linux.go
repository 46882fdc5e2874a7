//go:build !shmheap_portable && (amd64 || arm64 || loong64 || ppc64le || riscv64)

package sys

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shmheap/shmheap/internal/mem"
)

// WaitMethod is how Wait waits.
const WaitMethod = WaitFutex

// Operations of futex(2), without FUTEX_PRIVATE_FLAG because the word is shared between processes.
const (
	futexWake       = 1
	futexWaitBitset = 9 // the timeout is absolute, of CLOCK_MONOTONIC, and so survives a restart
	futexWakeBitset = 10
	futexAnyBit     = 0xffffffff
)

// Wait is described in futex.go.
func Wait(w *mem.Half, value uint32, d time.Duration) error {
	p, bits := standInFor(w)
	if p == nil {
		return futexWait(w, value, d, futexAnyBit)
	}
	before := p.Load() // whoever changes the word behind the next line changes this one later
	if w.Load() != value {
		return nil
	}
	return futexWait(p, before, d, bits)
}

func futexWait(w *mem.Half, value uint32, d time.Duration, bits uintptr) error {
	var until *unix.Timespec
	if d >= 0 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return os.NewSyscallError("clock_gettime", err)
		}
		end := unix.NsecToTimespec(now.Nano() + int64(d))
		until = &end
	}
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWaitBitset, uintptr(value),
		uintptr(unsafe.Pointer(until)), 0, bits)
	switch {
	case errno == 0 || errors.Is(errno, unix.EAGAIN) || errors.Is(errno, unix.EINTR):
		return nil
	case errors.Is(errno, unix.ETIMEDOUT):
		return ErrTimeout
	case errors.Is(errno, unix.EFAULT): // the memory of a device, which has no pages to sleep on
		return poll(w, value, d)
	}
	return os.NewSyscallError("futex", errno)
}

// Wake is described in futex.go. It does not block, so the scheduler need not hear of it.
func Wake(w *mem.Half, n int) (int, error) {
	if p, bits := standInFor(w); p != nil {
		return wakeStandIn(p, bits)
	}
	woken, _, errno := unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWake, uintptr(n))
	switch {
	case errors.Is(errno, unix.EFAULT):
		return CannotTell, nil // who sleeps there looks by itself
	case errno != 0:
		return 0, os.NewSyscallError("futex", errno)
	}
	return int(woken), nil
}

// wakeStandIn wakes everybody who has the same stand-in and bit: the one that is meant is among them.
func wakeStandIn(p *mem.Half, bits uintptr) (int, error) {
	p.Add(1)
	const everybody = 1 << 30
	_, _, errno := unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(p)), futexWakeBitset, everybody, 0, 0, bits)
	if errno != 0 {
		return 0, os.NewSyscallError("futex", errno)
	}
	return CannotTell, nil
}

// standIns are the ranges of memory at whose words the kernel lets nobody wait.
var standIns struct {
	sync.Mutex
	ranges atomic.Pointer[[]standIn]
}

type standIn struct {
	base, size uintptr
	words      []mem.Half
}

// StandIn makes Wait and Wake use words in memory of a file in place of those in a range of memory whose pages have
// none, where futex(2) fails with EFAULT. There must be a power of two of them, and every process that waits in
// the range must have the same. It returns how to take that back, when nobody waits there any more.
func StandIn(base, size uint64, words []mem.Half) (remove func()) {
	standIns.Lock()
	defer standIns.Unlock()
	var ranges []standIn
	if old := standIns.ranges.Load(); old != nil {
		ranges = slices.Clone(*old)
	}
	ranges = append(ranges, standIn{uintptr(base), uintptr(size), words})
	standIns.ranges.Store(&ranges)
	return func() { removeStandIn(uintptr(base)) }
}

func removeStandIn(base uintptr) {
	standIns.Lock()
	defer standIns.Unlock()
	ranges := slices.DeleteFunc(slices.Clone(*standIns.ranges.Load()), func(s standIn) bool { return s.base == base })
	if len(ranges) == 0 {
		standIns.ranges.Store(nil)
		return
	}
	standIns.ranges.Store(&ranges)
}

// standInFor returns the word to wait at instead of w and the bit to wait for, which spares most of those who have the
// same word; or nil.
func standInFor(w *mem.Half) (*mem.Half, uintptr) {
	ranges := standIns.ranges.Load()
	if ranges == nil {
		return nil, 0
	}
	at := uintptr(unsafe.Pointer(w))
	for i := range *ranges {
		if s := &(*ranges)[i]; at-s.base < s.size {
			hash := uint64(at-s.base) >> 2 * 0x9e3779b97f4a7c15 // the golden ratio: Knuth, TAOCP 6.4
			return &s.words[hash>>40&uint64(len(s.words)-1)], 1 << (hash >> 59)
		}
	}
	return nil, 0
}
