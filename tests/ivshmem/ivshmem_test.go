package ivshmem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"structs"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/lock"
	"github.com/shmheap/shmheap/queue"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"far": runFar})
}

// term is long against what an emulated processor on a busy machine makes a process wait.
const term = 10 * time.Second

// board is what both machines work on.
type board struct {
	_ structs.HostLayout

	list  *node      // of both machines' nodes, under the mutex
	count mem.Word   // both add to it without a lock
	mutex lock.Mutex // of the list
	stage mem.Word   // how far they have come
}

type node struct {
	_ structs.HostLayout

	next  *node
	value uint64
	text  alloc.String
}

// Stages. Each is stored by the machine that it names.
const (
	farAttached = iota + 1
	nearReady   // the contest may begin
	nearDone    // nobody needs the mutex any more
	farHolds    // it
	nearSeen    // the other may die
)

// contest is how often each machine adds to the count and puts a node into the list.
const contest = 500

// work does this machine's share: it adds to the count, and to the list under the lock.
func (b *board) work(h *heap.Heap, a *alloc.Allocator, name string, q func(*node) error) error {
	for i := range uint64(contest) {
		b.count.Add(1)
		n, err := alloc.New[node](a)
		if err != nil {
			return err
		}
		n.value = i
		if n.text, err = alloc.MakeString(a, name); err != nil {
			return err
		}
		if err := b.mutex.Lock(context.Background(), h); err != nil {
			return err
		}
		n.next = b.list
		b.list = n
		if err := errors.Join(b.mutex.Unlock(h), q(n)); err != nil {
			return err
		}
	}
	return nil
}

// await waits for a stage.
func (b *board) await(stage uint64) error {
	for end := time.Now().Add(10 * time.Minute); b.stage.Load() != stage; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("stage %d does not come, it is %d", stage, b.stage.Load())
		}
	}
	return nil
}

// runFar is the other machine's part, in the guest. It ends by being killed.
func runFar() error {
	f, err := openDevice()
	if err != nil {
		return err
	}
	h, err := heap.OpenShared(f)
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	b, err := alloc.LoadRoot[board](a, "board")
	if err != nil {
		return err
	}
	q, err := queue.Open(a, "queue", nil)
	if err != nil {
		return err
	}
	p, err := q.Producer()
	if err != nil {
		return err
	}
	fmt.Printf("the heap lies at %#x here, this is peer %v\n", h.Base(), h.Peer())
	b.stage.Swap(farAttached)
	if err := b.await(nearReady); err != nil {
		return err
	}
	push := func(n *node) error {
		off, _ := mem.OffsetOf(h.Memory(), n)
		return p.Push(context.Background(), off)
	}
	if err := b.work(h, a, "far", push); err != nil {
		return err
	}
	if err := b.await(nearDone); err != nil {
		return err
	}
	if err := b.mutex.Lock(context.Background(), h); err != nil { // to die with it
		return err
	}
	b.stage.Swap(farHolds)
	if err := b.await(nearSeen); err != nil {
		return err
	}
	os.Exit(9) // without Close, with the mutex, and with a cache
	return nil
}

// openDevice finds the device of the memory and switches it on. Its memory is the one of its regions that is large.
func openDevice() (*os.File, error) {
	const vendor, device = "0x1af4", "0x1110"
	devices, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil {
		return nil, err
	}
	for _, dir := range devices {
		if line(dir, "vendor") != vendor || line(dir, "device") != device {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "enable"), []byte("1"), 0); err != nil {
			return nil, err
		}
		return os.OpenFile(filepath.Join(dir, "resource2"), os.O_RDWR, 0)
	}
	return nil, fmt.Errorf("no device %s:%s among %q: %w", vendor, device, devices, os.ErrNotExist)
}

func line(dir, name string) string {
	text, _ := os.ReadFile(filepath.Join(dir, name)) // nothing is as good as another device
	return strings.TrimSpace(string(text))
}

// TestTwoMachines: see the package comment.
func TestTwoMachines(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		shmtest.SkipAnywhere(t, "the emulated machine has the memory order of this one on amd64 alone")
	}
	const size = 32 << 20
	memory, f := sharedFile(t, size)
	h, err := heap.CreateShared(f, "machines", term, &heap.Options{MaxPeers: 16, MaxRoots: 16, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := alloc.New[board](a)
	if err == nil {
		err = alloc.StoreRoot(a, "board", b)
	}
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.Open(a, "queue", &queue.Options{Capacity: 1 << 13})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- boot(t, memory, size) }()
	together(t, h, a, b, q, ended)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	alone(t, h, a, b)
}

// sharedFile makes the memory of the device.
func sharedFile(t *testing.T, size int64) (path string, f *os.File) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shmheap-ivshmem-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "memory")
	f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, f
}

// boot runs the other machine until its program is dead, and its kernel for some time longer, as otherwise nobody could
// tell that it is the program's death that is noticed.
func boot(t *testing.T, memory string, size int64) error {
	if _, err := guest.Emulator("amd64"); err != nil {
		return err
	}
	kernel, err := guest.Debian("amd64", "6.12")
	if err != nil {
		return err
	}
	binary := filepath.Join(t.TempDir(), "ivshmem.test")
	if err := guest.Build("amd64", "test", "-c", "-o", binary, "github.com/shmheap/shmheap/tests/ivshmem"); err != nil {
		return err
	}
	g := guest.Guest{
		Arch: "amd64", Kernel: kernel.Image, Memory: 512, Files: []guest.File{{Path: "/ivshmem.test", Host: binary}},
		Devices: []string{
			fmt.Sprintf("-object memory-backend-file,id=shared,share=on,size=%d,mem-path=%s", size, memory),
			"ivshmem-plain,memdev=shared",
		},
		Steps: []guest.Step{{Name: "far", Args: []string{"/ivshmem.test"}, Env: []string{"SHMTEST_PROGRAM=far"}, Timeout: 10 * time.Minute}},
	}
	r, err := g.Run(t.Context())
	if err != nil {
		return err
	}
	step, _ := r.Step("far")
	t.Logf("note: the other machine said: %s", strings.TrimSpace(step.Output))
	if step.Status != 9 {
		return fmt.Errorf("the program in the other machine ended with status %d:\n%s", step.Status, step.Output)
	}
	return nil
}

// together is the time while both machines work.
func together(t *testing.T, h *heap.Heap, a *alloc.Allocator, b *board, q *queue.Queue, ended chan error) {
	t.Helper()
	for b.stage.Load() != farAttached {
		select {
		case err := <-ended:
			skipOr(t, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	peers, err := h.Peers()
	if err != nil || len(peers) != 2 || !peers[1].Alive {
		t.Fatalf("peers %+v, %v", peers, err)
	}
	c, err := q.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	b.stage.Swap(nearReady)
	begin := time.Now()
	popped := 0
	pop := func(*node) error {
		for {
			off, err := c.TryPop()
			if err != nil {
				return nil // for now
			}
			if mem.View[node](h.Memory(), off).text.String() != "far" {
				return fmt.Errorf("element %#x is none of the other machine", off)
			}
			popped++
		}
	}
	if err := b.work(h, a, "near", pop); err != nil {
		t.Fatal(err)
	}
	b.stage.Swap(nearDone)
	if err := b.await(farHolds); err != nil {
		t.Fatal(err)
	}
	if err := pop(nil); err != nil || popped != contest {
		t.Errorf("%d elements came from the other machine, %v", popped, err)
	}
	if n := b.count.Load(); n != 2*contest {
		t.Errorf("the machines counted to %d together, want %d", n, 2*contest)
	}
	t.Logf("note: %d nodes of each machine in %v", contest, time.Since(begin))
	b.stage.Swap(nearSeen)
}

// skipOr ends the test because there is no other machine, or it failed.
func skipOr(t *testing.T, err error) {
	t.Helper()
	switch {
	case errors.Is(err, guest.ErrNoEmulator):
		shmtest.Skip(t, err.Error(), "install qemu-system-x86")
	case errors.Is(err, guest.ErrCannotFetch):
		shmtest.Skip(t, err.Error(), "test on Debian with a network, or fill .cache/guest")
	}
	t.Fatalf("the other machine ended too early: %v", err)
}

// alone is the time behind the other machine's death: it is noticed, and all that it had comes back.
func alone(t *testing.T, h *heap.Heap, a *alloc.Allocator, b *board) {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 6*term)
	defer cancel()
	if err := b.mutex.Lock(ctx, h); !errors.Is(err, lock.ErrOwnerDied) {
		t.Fatalf("a mutex of the dead: %v", err)
	}
	t.Logf("note: %v behind the end of the other machine it is known to be dead; the term is %v", time.Since(begin), term)
	if err := errors.Join(b.mutex.MarkConsistent(h), b.mutex.Unlock(h)); err != nil {
		t.Error(err)
	}
	if r, err := a.Recover(); err != nil || r.Peers != 1 || r.Caches == 0 {
		t.Errorf("recovered %+v, %v", r, err)
	}
	count := map[string]int{}
	for n := b.list; n != nil; n = n.next {
		count[n.text.String()]++
	}
	if count["near"] != contest || count["far"] != contest || len(count) != 2 {
		t.Errorf("list %v, want %d of each", count, contest)
	}
	r := a.Check()
	for _, p := range append(r.Problems, r.Notes...) {
		t.Error("check: ", p)
	}
}
