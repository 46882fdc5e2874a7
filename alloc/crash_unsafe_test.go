//go:build crashpoint

package alloc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// The tests here run a workload in a child process that kills itself at a named point, recover in a
// second child that kills itself in the middle of recovery, and account for every block in the parent.

// account is what the workload keeps in the heap: each block is reachable from a slot. Inexact is set
// to the number of blocks that may leak, while the workload uses operations that may leak some.
type account struct {
	Inexact uint64
	Arena   unsafe.Pointer // published
	Slots   [512]unsafe.Pointer
}

const (
	roleEnv = "SHMHEAP_TEST_ROLE"
	dirEnv  = "SHMHEAP_TEST_DIR"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "work":
		err = inChild(func(a *Allocator, acc *account) error { return work(a, acc) })
	case "recover":
		err = inChild(func(*Allocator, *account) error { return nil })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func inChild(f func(*Allocator, *account) error) error {
	h, err := heap.Open("crash", &heap.Options{Dir: os.Getenv(dirEnv)})
	if err != nil {
		return err
	}
	a, err := Open(h)
	if err != nil {
		return err
	}
	acc, err := LoadRoot[account](a, "account")
	if errors.Is(err, heap.ErrNoRoot) {
		acc, err = newAccount(a)
	}
	if err != nil {
		return err
	}
	if err := f(a, acc); err != nil {
		return err
	}
	return h.Close()
}

func newAccount(a *Allocator) (*account, error) {
	acc, err := New[account](a)
	if err != nil {
		return nil, err
	}
	return acc, StoreRoot(a, "account", acc)
}

// work passes every step of every operation a few times.
func work(a *Allocator, acc *account) error {
	for range 3 {
		held, err := a.NewCache() // with an arena, for recovery to free at each kill
		if err != nil {
			return err
		}
		if _, err := fillArena(held); err != nil {
			return err
		}
		one, err := a.NewCache()
		if err != nil {
			return err
		}
		two, err := a.NewCache()
		if err != nil {
			return err
		}
		for _, step := range []func() error{
			func() error { return fillSlots(one, acc) },
			func() error { return emptySlots(acc, one, two) },
			func() error { return fillSlots(one, acc) }, // collects what two freed
			func() error { return emptySlots(acc, two, one) },
			func() error { return fillSlots(two, acc) },
			one.Close,
			func() error { return emptySlots(acc, two, two) },
			func() error { return fillSlots(two, acc) }, // adopts what one left
			two.Close,
			func() error { return emptySlots(acc, a, a) },
			func() error { return plain(a, acc) },
			func() error { return private(a, acc) },
			func() error { return resizeSlots(a, acc) },
			func() error { return sampled(a, acc) },
			func() error { return carefully(a, acc) },
			func() error { return arenas(a, acc) },
			func() error { return collect(a, acc) },
			held.Close,
			func() error { _, err := a.Trim(); return err },
		} {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}

var workSizes = []uint64{16, 64, 100, 1000, 5000, 20_000, 32_768, 40_000, 200_000, 2 << 20}

func fillSlots(s Source, acc *account) error {
	for i := range acc.Slots {
		size := workSizes[i%4]
		if i%32 == 0 {
			size = workSizes[i/32%len(workSizes)]
		}
		if acc.Slots[i] != nil {
			continue
		}
		if err := s.AllocInto(&acc.Slots[i], size); err != nil {
			return err
		}
	}
	return nil
}

// emptySlots frees all slots, those of odd index from another source.
func emptySlots(acc *account, even, odd Source) error {
	for i := range acc.Slots {
		s := even
		if i%2 == 1 {
			s = odd
		}
		if err := s.FreeFrom(&acc.Slots[i]); err != nil {
			return err
		}
	}
	return nil
}

// resizeSlots moves blocks of all kinds between sizes, in place and elsewhere, from their own cache and another.
func resizeSlots(a *Allocator, acc *account) error {
	one, err := a.NewCache()
	if err != nil {
		return err
	}
	two, err := a.NewCache()
	if err != nil {
		return err
	}
	for i, size := range []uint64{100, 100_000, 700_000, 70_000} {
		if err := one.AllocInto(&acc.Slots[i], size); err != nil {
			return err
		}
	}
	for _, size := range []uint64{300, 400_000, 90_000, 1_200_000, 20_000, 150} {
		for i := range 4 {
			source := one
			if size == 20_000 {
				source = two
			}
			if err := source.ReallocInto(&acc.Slots[i], size); err != nil {
				return err
			}
		}
	}
	for i := range 4 {
		if err := two.FreeFrom(&acc.Slots[i]); err != nil {
			return err
		}
	}
	return errors.Join(one.Close(), two.Close(), resizePlain(a, acc))
}

// resizePlain resizes blocks that no slot leads to, private ones too.
func resizePlain(a *Allocator, acc *account) error {
	acc.Inexact = 1
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	for _, alloc := range []func(uint64) (unsafe.Pointer, error){c.Alloc, c.AllocPrivate} {
		p, err := alloc(100_000)
		for _, size := range []uint64{300_000, 1_000_000, 200_000, 3000, 200_000} {
			if err == nil {
				p, err = c.Realloc(p, size)
			}
		}
		if err == nil {
			err = c.Free(p)
		}
		if err != nil {
			return err
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	acc.Inexact = 0
	return nil
}

// plain uses the operations that may leak one block.
func plain(a *Allocator, acc *account) error {
	acc.Inexact = 1
	for range 3 {
		c, err := a.NewCache()
		if err != nil {
			return err
		}
		for _, size := range workSizes {
			for _, s := range []Source{c, a} {
				p, err := c.Alloc(size)
				if err != nil {
					return err
				}
				if err := s.Free(p); err != nil {
					return err
				}
			}
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	acc.Inexact = 0
	return nil
}

// sampled passes the steps of samples.
func sampled(a *Allocator, acc *account) error {
	if err := a.SetProfileRate(1000); err != nil {
		return err
	}
	for range 2 {
		c, err := a.NewCache()
		if err != nil {
			return err
		}
		if err := errors.Join(fillSlots(c, acc), c.Close(), emptySlots(acc, a, a)); err != nil {
			return err
		}
	}
	return a.SetProfileRate(0)
}

// carefully passes the steps of a cache that looks for misuse.
func carefully(a *Allocator, acc *account) error {
	acc.Inexact = 1
	c, err := a.NewCacheOptions(&CacheOptions{Careful: true})
	if err != nil {
		return err
	}
	for range 20 {
		for _, size := range workSizes {
			p, err := c.Alloc(size)
			if err == nil {
				err = c.Free(p)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	acc.Inexact = 0
	return nil
}

// private passes the steps of blocks that die with their cache, of which one of each kind is published.
func private(a *Allocator, acc *account) error {
	acc.Inexact = 1
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	for _, size := range workSizes {
		for i := range 3 {
			p, err := c.AllocPrivate(size)
			if err == nil && i == 1 {
				err = errors.Join(c.Publish(p), c.Free(p))
			}
			if err == nil && i == 2 {
				err = a.Free(p)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	acc.Inexact = 0
	return nil
}

// fillArena makes an arena of three chunks.
func fillArena(s Source) (*Arena, error) {
	r, err := NewArena(s, nil)
	for range 10 {
		if err == nil {
			_, err = r.Alloc(30_000)
		}
	}
	return r, err
}

// arenas passes the steps of arenas: reset, freed, published and freed, left to the cache.
func arenas(a *Allocator, acc *account) error {
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	for i := range 3 {
		r, err := fillArena(c)
		if err == nil && i == 0 {
			err = errors.Join(r.Reset(), r.Free())
		}
		if err == nil && i == 1 && acc.Arena == nil {
			err = r.PublishInto(&acc.Arena)
		}
		if err != nil {
			return err
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	r, err := OpenArena(a, acc.Arena)
	if err != nil {
		return err
	}
	acc.Inexact = 1
	acc.Arena = nil
	err = r.Free()
	acc.Inexact = 0
	return err
}

// collecting is what account.Inexact is while many blocks may leak.
const collecting = 1000

// collect leaks blocks of all kinds and collects them.
func collect(a *Allocator, acc *account) error {
	acc.Inexact = collecting
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	for range 100 {
		for _, size := range workSizes[:5] {
			if _, err := c.AllocZeroed(size); err != nil {
				return err
			}
		}
	}
	r, err := fillArena(c)
	if err == nil {
		err = r.Publish()
	}
	if err == nil {
		_, err = c.AllocZeroed(300_000)
	}
	if err == nil {
		err = c.Close()
	}
	if err == nil {
		err = fillSlots(a, acc)
	}
	if err != nil {
		return err
	}
	done, err := a.Collect(context.Background(), nil)
	if err == nil && done.Blocks != 502 {
		err = fmt.Errorf("collected %d blocks: %+v", done.Blocks, done)
	}
	if err == nil {
		err = emptySlots(acc, a, a)
	}
	acc.Inexact = 0
	return err
}

// run runs this binary in a role and reports whether it was killed at the point.
func run(t *testing.T, dir, role, point string, n int) (killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+dir)
	if point != "" {
		cmd.Env = append(cmd.Env, crashpoint.Env+"="+point+":"+strconv.Itoa(n))
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s at %s:%d: %v\n%s", role, point, n, err, out)
	}
	return true
}

// newCrashHeap makes a heap that no allocator has touched.
func newCrashHeap(t *testing.T, dir string) {
	t.Helper()
	h, err := heap.Create("crash", &heap.Options{Dir: dir, Size: 64 << 20, MaxPeers: 16, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// settleAccount opens the heap, which recovers it, and accounts for every block. Then it runs the
// workload once more and expects nothing to be left.
func settleAccount(t *testing.T, dir, what string, mayLeak uint64) (leaked uint64) {
	t.Helper()
	h, err := heap.Open("crash", &heap.Options{Dir: dir})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer h.Close()
	a, err := Open(h)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	acc, err := LoadRoot[account](a, "account")
	if errors.Is(err, heap.ErrNoRoot) { // killed before the account was stored
		mayLeak = 1
		acc, err = newAccount(a)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	leaked = countLeaks(t, a, acc, what)
	if done, err := a.Collect(t.Context(), nil); err != nil || done.Blocks != leaked {
		t.Errorf("%s: %d blocks leaked, collected %+v: %v", what, leaked, done, err)
	}
	if leaked > max(mayLeak, acc.Inexact) {
		t.Errorf("%s: %d blocks leaked", what, leaked)
	}
	if err := work(a, acc); err != nil {
		t.Fatalf("%s: working on: %v", what, err)
	}
	if err := a.Check().Err(); err != nil {
		t.Fatalf("%s: after working on: %v", what, err)
	}
	if again := countLeaks(t, a, acc, what); again != 0 {
		t.Fatalf("%s: %d blocks leaked after working on", what, again)
	}
	return leaked
}

// countLeaks checks the heap and its slots and returns how many blocks and arenas no slot leads to.
func countLeaks(t *testing.T, a *Allocator, acc *account, what string) (leaked uint64) {
	t.Helper()
	if err := a.Check().Err(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	live := uint64(1) // the account itself
	seen := make(map[unsafe.Pointer]bool)
	for i, p := range acc.Slots {
		if p == nil {
			continue
		}
		live++
		if _, err := a.UsableSize(p); err != nil || seen[p] {
			t.Fatalf("%s: slot %d leads to %p, seen %v: %v", what, i, p, seen[p], err)
		}
		seen[p] = true
	}
	s, err := a.Stats()
	if err != nil || s.Live < live || s.Claimed != 0 || s.Caches != 0 && s.Caches > 2 {
		t.Fatalf("%s: %d blocks are reachable, the allocator says %+v: %v", what, live, s, err)
	}
	leaked = s.Live - live + s.Arenas
	if acc.Arena != nil {
		if _, err := OpenArena(a, acc.Arena); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		leaked--
	}
	return leaked
}

// mayLeak has the points at which blocks leak though the workload keeps them in slots: the documented cases. In
// Realloc the block and its copy are in the caller's hands alone.
var mayLeak = map[string]uint64{"alloc.from.after-clear": 1, "alloc.move.before-free": 1, "alloc.realloc.after-copy": 2}

// TestKilledAtEveryPoint kills the workload at each point, at several passes, and again recovery at
// each of its points.
func TestKilledAtEveryPoint(t *testing.T) {
	points := shmtest.CrashPoints(t, ".")
	slices.Sort(points)
	points = slices.Compact(points)
	if len(points) < 20 {
		t.Fatalf("found only the points %q", points)
	}
	var recovery []string
	for _, p := range points {
		if strings.HasPrefix(p, "alloc.recover.") || strings.HasPrefix(p, "alloc.settle.") {
			recovery = append(recovery, p)
		}
	}
	recovery = append(recovery, "alloc.disown.after-hint", "alloc.disown.after-state", "alloc.release.after-tail", "alloc.release.after-head")
	kills, leaks := 0, uint64(0)
	killedIn := make(map[string]bool)
	for _, p := range points {
		for _, n := range []int{1, 2, 7, 40} {
			again := recovery[kills%len(recovery)]
			if strings.HasPrefix(p, "alloc.resize.after-claim") {
				again = "alloc.settle.after-resize"
			}
			dir := filepath.Join(t.TempDir(), "heaps")
			newCrashHeap(t, dir)
			if !run(t, dir, "work", p, n) {
				break
			}
			kills++
			killedIn[p] = true
			for pass := 1; pass < 4 && run(t, dir, "recover", again, pass); pass++ {
				kills++
				killedIn[again] = true
			}
			what := fmt.Sprintf("killed at %s:%d, recovery at %s", p, n, again)
			leaks += settleAccount(t, dir, what, mayLeak[p])
		}
	}
	for _, p := range points {
		if !killedIn[p] {
			t.Errorf("nobody was killed at %s", p)
		}
	}
	t.Logf("%d kills at %d points, %d blocks leaked in the documented case", kills, len(points), leaks)
}
