package samples

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
)

// kernelField is the part of the register that the interrupt handler owns.
const kernelField = fields - 1

// attached changes the register through the module, under the lock that the kernel tries to get too. Now and then
// it has the device interrupt: that register adds bits, so it needs no lock.
func attached(h *heap.Heap, b *board) (changer, error) {
	c, err := openCard()
	if err != nil {
		return nil, err
	}
	if err := c.attach(&b.mutex, h.Peer()); err != nil {
		return nil, err
	}
	r, err := lock.RegisterAt[uint64](c.registers, eduScratch)
	if err != nil {
		return nil, err
	}
	raise, err := lock.RegisterAt[uint32](c.registers, eduRaise)
	g := lock.NewGuard(lock.WithKernel(h), &b.mutex, r)
	return func(f func(uint64) uint64) error {
		if rand.IntN(8) == 0 {
			raise.Write(1)
		}
		_, _, err := g.Update(context.Background(), f)
		return err
	}, err
}

// testCard opens the device for a test, with the register at zero but for the kernel's part.
func testCard(t *testing.T) *card {
	t.Helper()
	c, err := openCard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close() })
	return c
}

func (c *card) wantStat(t *testing.T) [statWords]uint64 {
	t.Helper()
	s, err := c.stat()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRegsShared: three processes and an interrupt handler change one register, each other bits, and processes are
// killed at it now and then. No update is lost, and dead processes keep nobody from the register.
func TestRegsShared(t *testing.T) {
	needGuest(t)
	dir := heapDir(t)
	h, b := makeBoard(t, dir)
	c := testCard(t)
	if err := c.attach(&b.mutex, h.Peer()); err != nil {
		t.Fatal(err)
	}
	r := register[uint64](t, c.registers, eduScratch)
	r.Write(put(0, kernelField, get(r.Read(), kernelField)))
	var writers [kernelField]*shmtest.Process
	for i := range writers {
		writers[i] = shmtest.Start(t, "writer", dir, strconv.Itoa(i), "attached")
		writers[i].Want("up")
	}
	for range kills(t, 10) {
		before := b.total()
		shmtest.Until(t, "progress", func() bool { return b.total() > before+50 })
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		i := rand.IntN(len(writers))
		writers[i].Kill()
		writers[i] = shmtest.Start(t, "writer", dir, strconv.Itoa(i), "attached")
		writers[i].Want("up")
	}
	before := b.total()
	shmtest.Until(t, "both ways to change it, and progress", func() bool {
		s := c.wantStat(t)
		return s[statAtOnce] > 0 && s[statLater] > 0 && b.total() > before+2000
	})
	b.stop.Store(1)
	for _, w := range writers {
		w.Succeed()
	}
	shmtest.Until(t, "the last change by the kernel", func() bool { return c.wantStat(t)[statWaiting] == 0 })
	s, v := c.wantStat(t), r.Read()
	for i := range writers {
		if want := b.done[i].Load(); get(v, i) != want&fieldMask || want == 0 {
			t.Errorf("field %d is %d after %d updates", i, get(v, i), want)
		}
	}
	if get(v, kernelField) != s[statIRQs]&fieldMask || s[statIRQs] == 0 {
		t.Errorf("the kernel's field is %d after %d interrupts", get(v, kernelField), s[statIRQs])
	}
	if b.lost.Load() != 0 || s[statLost] != 0 || s[statMeddled] != 0 {
		t.Errorf("processes lost %d updates, the kernel %d, and the lock %d times", b.lost.Load(), s[statLost], s[statMeddled])
	}
	t.Logf("note: %d updates by processes and %d interrupts, none lost: %d changes in the handler, %d later, %d tries in vain, %d locks of the dead",
		b.total(), s[statIRQs], s[statAtOnce], s[statLater], s[statTries], s[statBuried])
}

// TestRegsHolderDies: while a process holds the lock, the kernel's change waits and nothing else does; when it
// dies, the kernel hears of it first.
func TestRegsHolderDies(t *testing.T) {
	needGuest(t)
	dir := heapDir(t)
	h, b := makeBoard(t, dir)
	c := testCard(t)
	if err := c.attach(&b.mutex, h.Peer()); err != nil {
		t.Fatal(err)
	}
	before := c.wantStat(t)
	holder := shmtest.Start(t, "holder", dir)
	holder.Want("held")
	raise := register[uint32](t, c.registers, eduRaise)
	for range 10 {
		irqs := c.wantStat(t)[statIRQs]
		raise.Write(1)
		shmtest.Until(t, "interrupt", func() bool { return c.wantStat(t)[statIRQs] == irqs+1 })
	}
	r := register[uint64](t, c.registers, eduScratch)
	if s := c.wantStat(t); s[statWaiting] != 1 || get(r.Read(), kernelField) != before[statIRQs]&fieldMask {
		t.Errorf("with the lock held the kernel has changed the register: %v", s)
	}
	holder.Kill()
	shmtest.Until(t, "the kernel's change", func() bool { return c.wantStat(t)[statWaiting] == 0 })
	s := c.wantStat(t)
	if s[statBuried] != before[statBuried]+1 || s[statLater] != before[statLater]+1 || get(r.Read(), kernelField) != (before[statIRQs]+10)&fieldMask {
		t.Errorf("after ten interrupts: %v, before them: %v, register %#x", s, before, r.Read())
	}
	if err := b.mutex.TryLock(lock.WithKernel(h)); err != nil {
		t.Errorf("lock after the death: %v", err)
	}
}

// runHolder is a process that locks and keeps it.
func runHolder() error {
	h, b, err := openBoard(os.Args[1])
	if err != nil {
		return err
	}
	c, err := openCard()
	if err != nil {
		return err
	}
	if err := c.attach(&b.mutex, h.Peer()); err != nil {
		return err
	}
	if err := b.mutex.Lock(context.Background(), lock.WithKernel(h)); err != nil {
		return err
	}
	fmt.Println("held")
	shmtest.Listen()
	return nil
}

// TestRegsNonsense: a program that writes anything into the lock's word hurts itself alone.
func TestRegsNonsense(t *testing.T) {
	needGuest(t)
	h, b := makeBoard(t, heapDir(t))
	c := testCard(t)
	if err := c.attach(&b.mutex, h.Peer()); err != nil {
		t.Fatal(err)
	}
	raise := register[uint32](t, c.registers, eduRaise)
	word := mutexWord(&b.mutex)
	for n := range 3000 {
		v := rand.Uint64() >> rand.UintN(64)
		if n%5 == 0 {
			v = uint64(lock.KernelPeer) | rand.Uint64()&^(1<<60-1)
		}
		atomic.StoreUint64(word, v)
		if n%10 == 0 {
			raise.Write(1)
		}
	}
	irqs := c.wantStat(t)[statIRQs]
	raise.Write(1)
	shmtest.Until(t, "another interrupt, and the kernel's change", func() bool {
		atomic.StoreUint64(word, 0)
		s := c.wantStat(t)
		return s[statIRQs] > irqs && s[statWaiting] == 0
	})
	r := register[uint64](t, c.registers, eduScratch)
	if s := c.wantStat(t); get(r.Read(), kernelField) != s[statIRQs]&fieldMask {
		t.Errorf("register %#x after %v", r.Read(), s)
	}
}

// elsewhere is a lock that lies in no heap. What is allocated in sixteens is aligned like that, as locks must be.
var elsewhere = new(lock.Mutex)

// TestRegsRefuses: what is no lock, no peer or no mapping is refused. A lock in the device's own memory is
// refused by the library and by the kernel.
func TestRegsRefuses(t *testing.T) {
	needGuest(t)
	h, b := makeBoard(t, heapDir(t))
	c := testCard(t)
	if err := lock.CheckAtomics(c.registers); !errors.Is(err, lock.ErrNotCacheable) {
		t.Errorf("atomics in registers that a module maps: %v", err)
	}
	peer := uint64(h.Peer())
	wantErrno(t, "a lock in the registers", c.call(addressOf(c.registers), peer), syscall.EFAULT)
	wantErrno(t, "a lock nowhere", c.call(0, peer), syscall.EFAULT)
	wantErrno(t, "a lock above all", c.call(1<<64-16, peer), syscall.EFAULT)
	wantErrno(t, "a lock askew", c.call(8, peer), syscall.EINVAL)
	wantErrno(t, "no peer", c.attach(&b.mutex, 0), syscall.EINVAL)
	wantErrno(t, "the kernel as a peer", c.attach(&b.mutex, lock.KernelPeer), syscall.EINVAL)
	wantErrno(t, "attach", c.attach(&b.mutex, h.Peer()), 0)
	wantErrno(t, "attach again", c.attach(&b.mutex, h.Peer()), syscall.EBUSY)
	other := testCard(t)
	wantErrno(t, "another lock", other.attach(elsewhere, h.Peer()), syscall.EBUSY)
	wantErrno(t, "the same lock", other.attach(&b.mutex, h.Peer()), 0)
	for _, m := range []struct {
		what              string
		offset            int64
		size, prot, flags int
		want              syscall.Errno
	}{
		{"another page", int64(os.Getpagesize()), os.Getpagesize(), syscall.PROT_READ, syscall.MAP_SHARED, syscall.ENXIO},
		{"two pages", 0, 2 * os.Getpagesize(), syscall.PROT_READ, syscall.MAP_SHARED, syscall.EINVAL},
		{"a private mapping", 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_PRIVATE, syscall.EOPNOTSUPP},
		{"code", 0, os.Getpagesize(), syscall.PROT_READ | syscall.PROT_EXEC, syscall.MAP_SHARED, syscall.EPERM},
	} {
		_, err := syscall.Mmap(int(c.file.Fd()), m.offset, m.size, m.prot, m.flags)
		wantErrno(t, m.what, err, m.want)
	}
	wantErrno(t, "another call", rawCall(c.file, 0x4010b902, make([]uint64, 8)), syscall.ENOTTY)
}

// TestRegsTakenAway: the device goes while a program has it, and comes back. The program gets a signal, and the
// kernel nothing to complain of.
func TestRegsTakenAway(t *testing.T) {
	needGuest(t)
	h, b := makeBoard(t, heapDir(t))
	c := testCard(t)
	if err := c.attach(&b.mutex, h.Peer()); err != nil {
		t.Fatal(err)
	}
	id := register[uint32](t, c.registers, eduID)
	if id.Read()&0xff != 0xed {
		t.Fatalf("identification %#x", id.Read())
	}
	dir, err := eduPath()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "remove"), "1")
	if !faults(func() { id.Read() }) {
		t.Error("the registers are still mapped")
	}
	if _, err := c.stat(); err != nil {
		t.Errorf("stat without the device: %v", err)
	}
	wantErrno(t, "attach without the device", c.attach(&b.mutex, h.Peer()), syscall.ENODEV)
	write(t, "/sys/bus/pci/rescan", "1")
	again := testCard(t)
	if again.file.Name() == c.file.Name() {
		t.Errorf("%s again", again.file.Name())
	}
	if id := register[uint32](t, again.registers, eduID); id.Read()&0xff != 0xed {
		t.Errorf("identification %#x after it came back", id.Read())
	}
}

// faults reports whether f touches memory that is not there.
func faults(f func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	f()
	return false
}
