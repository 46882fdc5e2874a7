package heap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

func init() { programs["far"] = runFar }

// testTerm is long against what a busy machine makes processes wait.
const testTerm = 3 * time.Second

// sharedMemory is a file that stands for memory of several machines.
func sharedMemory(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "memory"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// runFar attaches to the heap in the memory of its argument, adds 1 to its first word of data, says when it is asked what
// Commit returns, and closes the heap when it is told to.
func runFar() error {
	f, err := os.OpenFile(os.Args[1], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	h, err := OpenShared(f)
	if err != nil {
		return err
	}
	h.Memory().Word(data(h, 0)).Add(1)
	fmt.Println(uint64(h.Peer()))
	for shmtest.Listen() == "commit" {
		fmt.Println(h.Commit(data(h, 0), 8))
	}
	return h.Close()
}

// far starts a process and returns its peer.
func far(t *testing.T, f *os.File) (*shmtest.Process, PeerID) {
	t.Helper()
	p := shmtest.Start(t, "far", f.Name())
	var id uint64
	if _, err := fmt.Sscan(p.Hear(), &id); err != nil {
		t.Fatal(err)
	}
	return p, PeerID(id)
}

func mustShare(t *testing.T, f *os.File) *Heap {
	t.Helper()
	h, err := CreateShared(f, "shared", testTerm, &Options{MaxPeers: 16, MaxRoots: 8, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, h)
	return h
}

// TestLeases: who lives in shared memory is told without a file lock. A process is alive as long as it runs, dead a term
// after it was killed, and at once when it closes.
func TestLeases(t *testing.T) {
	f := sharedMemory(t, 16<<20)
	h := mustShare(t, f)
	killed, victim := far(t, f)
	closing, leaver := far(t, f)
	if got := h.Memory().Word(data(h, 0)).Load(); got != 2 {
		t.Errorf("the others added %d", got)
	}
	wantLives(t, h, victim, true)
	wantLives(t, h, leaver, true)
	_, err := h.Alone()
	wantError(t, "alone beside two", err, ErrNotAlone)
	closing.Tell("close")
	closing.Succeed()
	wantLives(t, h, leaver, false)
	begin := time.Now()
	killed.Kill()
	wantLives(t, h, victim, true) // nobody can know yet
	shmtest.Until(t, "the killed one is dead", func() bool { alive, err := h.Alive(victim); return err == nil && !alive })
	if took := time.Since(begin); took < testTerm/2 || took > 10*testTerm {
		t.Errorf("noticed after %v, with a term of %v", took, testTerm)
	}
	if err := h.ReleaseDead(); err != nil {
		t.Error(err)
	}
	release, err := h.Alone()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if _, id := far(t, f); id.Slot() != victim.Slot() || id.Generation() != victim.Generation()+1 {
		t.Errorf("the next peer is %v, behind %v", id, victim)
	}
}

func wantLives(t *testing.T, h *Heap, id PeerID, want bool) {
	t.Helper()
	if alive, err := h.Alive(id); err != nil || alive != want {
		t.Errorf("peer %v is alive: %t, %v", id, alive, err)
	}
}

// TestExpelled: who has lost its lease, because it was stopped for longer than the term, is told so.
func TestExpelled(t *testing.T) {
	h, err := CreateShared(sharedMemory(t, 16<<20), "shared", testTerm, &Options{MaxPeers: 16})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.OnClose(func() error { t.Error("what is others' by now was given back"); return nil }); err != nil {
		t.Fatal(err)
	}
	h.leases.table[h.peer.Slot()].Holder.Swap(99) // as somebody does who finds it expired
	shmtest.Until(t, "it notices", func() bool { return errors.Is(h.Commit(data(h, 0), 8), ErrExpelled) })
	_, err = h.Alive(MakePeerID(1, 1))
	wantError(t, "ask for another", err, ErrExpelled)
	h.peers[h.peer.Slot()].State.Swap(attachedState(MakePeerID(0, 2))) // its successor
	r := h.region.(*sharedRegion)
	unmap := r.unmap
	r.unmap = func() error {
		if state := mem.View[layout.Peer](r.all, h.geometry.Sections.Peers).State.Load(); state != attachedState(MakePeerID(0, 2)) {
			t.Errorf("the state of its successor is %#x", state)
		}
		return unmap()
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestExpelledIsSilent: who has lost a lease does not beat there any more, which would keep its successor alive for ever.
func TestExpelledIsSilent(t *testing.T) {
	table := make([]layout.Lease, layout.LeaseTerm+3)
	l := newLeases(table, 2, time.Hour)
	defer l.close()
	if got, err := l.tryRange(lockPeers, 2); !got || err != nil {
		t.Fatal(got, err)
	}
	const successor = 98
	table[0].Holder.Swap(successor)
	l.round(time.Now())
	l.round(time.Now())
	if lost, kept := table[0].Beat.Load(), table[1].Beat.Load(); lost != 0 || kept != 2 || !l.expelled.Load() {
		t.Errorf("%d beats for the successor, %d for itself, expelled: %t", lost, kept, l.expelled.Load())
	}
	if err := l.unlock(lockPeers, 2); err != nil || table[0].Holder.Load() != successor || table[1].Holder.Load() != 0 {
		t.Errorf("holders are %d and %d: %v", table[0].Holder.Load(), table[1].Holder.Load(), err)
	}
}

// TestStoppedIsExpelled: a process that others have taken for dead, because it was stopped, is dead for good and for everybody,
// also for who has not seen it stand still, and finds so itself.
func TestStoppedIsExpelled(t *testing.T) {
	f := sharedMemory(t, 16<<20)
	h := mustShare(t, f)
	stopped, id := far(t, f)
	stopped.Signal(syscall.SIGSTOP)
	shmtest.Until(t, "the stopped one is dead", func() bool { alive, err := h.Alive(id); return err == nil && !alive })
	stopped.Signal(syscall.SIGCONT)
	if holder := h.leases.table[id.Slot()].Holder.Load(); holder != 0 {
		t.Errorf("who comes now finds the lease of %#x, and takes it for living", holder)
	}
	wantLives(t, h, id, false)
	shmtest.Until(t, "it finds so", func() bool { return stopped.Ask("commit") != "<nil>" })
	if got := stopped.Ask("commit"); !strings.Contains(got, ErrExpelled.Error()) {
		t.Errorf("it finds: %s", got)
	}
	stopped.Tell("close")
	stopped.Succeed()
	wantLives(t, h, id, false)
}

// TestStoppedTogether: who was stopped itself takes nobody for dead before it has looked again, as the other may have been stopped
// with it.
func TestStoppedTogether(t *testing.T) {
	const term, other = time.Hour, 7
	l := newLeases(make([]layout.Lease, 4), 4, term)
	defer l.close()
	l.table[1].Holder.Swap(other)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.seen[1], l.last = sighting{other, 0, now.Add(-2 * term)}, now.Add(-term)
	if !l.lives(1) || l.table[1].Holder.Load() != other {
		t.Error("the other is dead")
	}
	l.last = now
	if l.lives(1) || l.table[1].Holder.Load() != 0 {
		t.Error("the other lives")
	}
}

// TestSharedErrors: there is one heap in a memory, and what is none is refused.
func TestSharedErrors(t *testing.T) {
	f := sharedMemory(t, 16<<20)
	_, err := OpenShared(f)
	wantError(t, "open empty memory", err, ErrNotReady)
	_, err = CreateShared(f, "shared", time.Millisecond, nil)
	wantError(t, "create with a term too short", err, ErrSize)
	_, err = CreateShared(sharedMemory(t, 1<<20), "shared", testTerm, nil)
	wantError(t, "create in too little", err, ErrSize)
	_, err = CreateShared(nil, "shared", testTerm, nil)
	wantError(t, "create in nothing", err, os.ErrInvalid)
	_, err = OpenShared(nil)
	wantError(t, "open nothing", err, os.ErrInvalid)
	h := mustShare(t, f)
	_, err = OpenShared(f)
	wantError(t, "open twice", err, ErrOpen)
	wantCleared(t, h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = CreateShared(f, "shared", testTerm, &Options{MaxPeers: 16})
	wantError(t, "create over a heap", err, ErrExist)
	h, err = CreateShared(f, "other", testTerm, &Options{MaxPeers: 16, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if h.Name() != "other" || h.Committed() > 1<<20 {
		t.Errorf("heap %q, %d committed", h.Name(), h.Committed())
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// wantCleared: what is given back and committed again is zero, although the memory stays.
func wantCleared(t *testing.T, h *Heap) {
	t.Helper()
	const granule = 1 << 16
	off := h.geometry.Sections.Data
	if err := h.Commit(off, granule); err != nil {
		t.Error(err)
	}
	h.Memory().Word(off).StoreRelease(7)
	if err := errors.Join(h.Decommit(off, granule), h.Commit(off, granule)); err != nil || h.Memory().Word(off).Load() != 0 {
		t.Errorf("given back and committed again: %d, %v", h.Memory().Word(off).Load(), err)
	}
}

// TestReadyIsReadFirst: a superblock that is read while it is written is not complete, or whole, and never damaged. Memory
// that machines share has no other word for that.
func TestReadyIsReadFirst(t *testing.T) {
	g := geometry{base: 0x5500_0000_0000, name: "a"}
	var err error
	if g.Geometry, err = layout.NewGeometry(testSize, 8, 16, 64); err != nil {
		t.Fatal(err)
	}
	const rounds = 3000
	bytes, unmap, err := sys.MapPages(sharedMemory(t, rounds*layout.SuperblockSize), 0, rounds*layout.SuperblockSize, true)
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	pages, written := make(chan mem.Memory), make(chan struct{})
	go func() {
		for m := range pages {
			writeSuperblock(m, &g, layout.Magic, 0)
			written <- struct{}{}
		}
	}()
	defer close(pages)
	for i := range uint64(rounds) {
		m := mem.Over(mem.Over(bytes).Bytes(i*layout.SuperblockSize, layout.SuperblockSize))
		pages <- m
		for err = ErrNotReady; errors.Is(err, ErrNotReady); {
			_, err = parseSuperblock(m)
		}
		<-written
		if err != nil {
			t.Fatal(err)
		}
	}
}
