package pages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// programs are what the tests run in processes of their own.
var programs = map[string]func() error{"filler": runFiller}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

const huge = 2 << 20

// mount mounts a file system for the time of the test.
func mount(t *testing.T, kind, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "mounting needs root", "run the tests as root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", kind, "-o", options, "none", dir).CombinedOutput(); err != nil {
		shmtest.Skip(t, fmt.Sprintf("mount %s: %s", kind, out), "run the tests where file systems can be mounted")
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// setting sets a file of /proc or /sys for the time of the test.
func setting(t *testing.T, path, value string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		shmtest.SkipAnywhere(t, "the kernel has no huge pages: "+err.Error())
	}
	before := strings.TrimSpace(string(old))
	if _, chosen, ok := strings.Cut(before, "["); ok {
		before, _, _ = strings.Cut(chosen, "]")
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		shmtest.Skip(t, err.Error(), "run the tests as root, and not in a container")
	}
	t.Cleanup(func() { os.WriteFile(path, []byte(before), 0o644) })
}

// pool sets pages aside for hugetlbfs, or skips the test.
func pool(t *testing.T, pages int) {
	t.Helper()
	const path = "/proc/sys/vm/nr_hugepages"
	setting(t, path, fmt.Sprint(pages))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := strconv.Atoi(strings.TrimSpace(string(text))); n < pages {
		shmtest.SkipAnywhere(t, fmt.Sprintf("memory is too fragmented for %d huge pages: %d", pages, n))
	}
}

// create makes a heap that is closed when the test ends.
func create(t testing.TB, o heap.Options) (*heap.Heap, *alloc.Allocator) {
	t.Helper()
	h, err := heap.Create("pages", &o)
	if errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, heap.ErrClosed) {
			t.Error(err)
		}
	})
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	return h, a
}

// fill allocates until nothing fits, writes to every byte, and returns what it got.
func fill(a *alloc.Allocator) (blocks []alloc.Slice[byte], bytes int, err error) {
	for _, size := range []int{3 << 20, 300 << 10, 20 << 10, 500} {
		for {
			b, err := alloc.MakeSlice[byte](a, size, size)
			if errors.Is(err, alloc.ErrNoSpace) {
				break
			}
			if err != nil {
				return blocks, bytes, err
			}
			for i := range b.Slice() {
				if b.Slice()[i] != 0 {
					return blocks, bytes, fmt.Errorf("byte %d of a new slice is %d", i, b.Slice()[i])
				}
				b.Slice()[i] = byte(len(blocks) + 1)
			}
			blocks, bytes = append(blocks, b), bytes+size
		}
	}
	return blocks, bytes, nil
}

func empty(a *alloc.Allocator, blocks []alloc.Slice[byte]) error {
	for i, b := range blocks {
		for at, v := range b.Slice() {
			if v != byte(i+1) {
				return fmt.Errorf("block %d: byte %d is %d", i, at, v)
			}
		}
		if err := b.Free(a); err != nil {
			return err
		}
	}
	return nil
}

// runFiller fills the heap of its argument, three times, and is killed at the third.
func runFiller() error {
	h, err := heap.Open(os.Args[1], nil)
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	for range 2 {
		blocks, bytes, err := fill(a)
		if err != nil {
			return err
		}
		fmt.Println(bytes)
		if err := empty(a, blocks); err != nil {
			return err
		}
		if _, err := a.Trim(); err != nil {
			return err
		}
	}
	if _, _, err := fill(a); err != nil {
		return err
	}
	fmt.Println("full")
	shmtest.Listen()
	return nil
}

// TestHugetlbfs: a heap in a file on hugetlbfs, with fewer huge pages than it may have: it fills them, gives them
// back, and says when there are no more.
func TestHugetlbfs(t *testing.T) {
	const pages = 24
	pool(t, pages)
	path := filepath.Join(mount(t, "hugetlbfs", "pagesize=2M"), "pages.heap")
	h, a := create(t, heap.Options{Path: path, Size: 1<<30 + 5, HugePages: true})
	if h.Size()%huge != 0 || h.Base()%huge != 0 {
		t.Errorf("%#x bytes at %#x", h.Size(), h.Base())
	}
	_, err := heap.Create("odd", &heap.Options{Path: path + "2", Size: 16 << 20, Base: h.Base() + 1<<31 + 1<<16})
	if !errors.Is(err, heap.ErrSize) {
		t.Errorf("a base that is no multiple of a huge page: %v", err)
	}
	lookAt(t, path)
	p := shmtest.Start(t, "filler", path)
	var first, second int
	fmt.Sscan(p.Hear(), &first)
	fmt.Sscan(p.Hear(), &second)
	if first < pages*huge*7/10 || second < first*9/10 {
		t.Errorf("%d bytes fit in %d huge pages, and %d afterwards", first, pages, second)
	}
	p.Want("full")
	if _, err := a.Alloc(8 << 20); !errors.Is(err, heap.ErrNoSpace) {
		t.Errorf("allocate without huge pages: %v", err)
	}
	p.Kill()
	if _, err := a.Recover(); err != nil {
		t.Error(err)
	}
	if err := a.Check().Err(); err != nil {
		t.Error(err)
	}
	if _, err := a.Collect(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, bytes, err := fill(a); err != nil || bytes < first*9/10 {
		t.Errorf("behind a collection %d bytes fit, %v", bytes, err)
	}
	t.Logf("note: %d bytes fit in %d huge pages", first, pages)
}

// lookAt looks at a heap, which takes no storage, and stays there until the test ends.
func lookAt(t *testing.T, path string) {
	t.Helper()
	v, err := heap.Look(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	if s, err := alloc.Look(v).Stats(); err != nil || s.FreeGranules == 0 {
		t.Errorf("%d free granules: %v", s.FreeGranules, err)
	}
}

// shmemHuge is the setting for transparent huge pages of tmpfs.
const shmemHuge = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

// TestTransparent: Prepare puts a heap on tmpfs into huge pages, the content stays, and what is given back of them
// does not come back.
func TestTransparent(t *testing.T) {
	setting(t, shmemHuge, "advise")
	dir := mount(t, "tmpfs", "size=256m")
	h, a := create(t, heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 128 << 20, HugePages: true})
	s, err := alloc.MakeSlice[uint64](a, 4<<20, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Slice() {
		s.Slice()[i] = uint64(i)
	}
	calls := uint64(0)
	done, err := h.Prepare(t.Context(), &heap.PrepareOptions{Huge: true, Progress: func(now, total uint64) {
		if calls++; now > total || total != h.Size() {
			t.Errorf("progress %d of %d", now, total)
		}
	}})
	if errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil || done.Huge < 28<<20 || done.Present != h.Committed() || calls != 4 {
		t.Errorf("%+v, %v, %d calls", done, err, calls)
	}
	if got := mapped(t, "ShmemPmdMapped"); got < 28<<20 {
		t.Errorf("%d bytes are mapped by huge pages", got)
	}
	for i, v := range s.Slice() {
		if v != uint64(i) {
			t.Fatalf("word %d is %d", i, v)
		}
	}
	if err := s.Free(a); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Trim(); err != nil {
		t.Fatal(err)
	}
	if c := h.Committed(); c > 8<<20 {
		t.Errorf("%d bytes have storage still", c)
	}
	if err := a.Check().Err(); err != nil {
		t.Error(err)
	}
}

// mapped sums up a line of /proc/self/smaps over all heaps, in bytes.
func mapped(t testing.TB, line string) (bytes uint64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for l := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(l, ":")
		if fields := strings.Fields(l); len(fields) >= 5 && strings.Contains(fields[0], "-") {
			ours = strings.HasSuffix(fields[len(fields)-1], ".heap")
		} else if ours && name == line {
			n, _ := strconv.ParseUint(strings.Fields(value)[0], 10, 64)
			bytes += n << 10
		}
	}
	return bytes
}

// TestLocked: what is locked shows as such, and more than the limit is an error.
func TestLocked(t *testing.T) {
	h, a := create(t, heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 64 << 20})
	if _, err := alloc.MakeSlice[byte](a, 4<<20, 4<<20); err != nil {
		t.Fatal(err)
	}
	done, err := h.Prepare(t.Context(), &heap.PrepareOptions{Lock: true})
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOMEM) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if got := mapped(t, "Locked"); err != nil || done.Locked != h.Committed() || got < 4<<20 {
		t.Errorf("%+v, %v; %d bytes are locked", done, err, got)
	}
}

// TestPrepare: pages are there before they are touched; what cannot be done is refused; a context ends it.
func TestPrepare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "heaps")
	h, a := create(t, heap.Options{Dir: dir, Size: 128 << 20})
	if _, err := a.Alloc(64 << 20); err != nil {
		t.Fatal(err)
	}
	before := mapped(t, "Rss")
	done, err := h.Prepare(t.Context(), nil)
	if after := mapped(t, "Rss"); err != nil || done.Present != h.Committed() || before > 8<<20 || after < 64<<20 {
		t.Errorf("%+v, %v; resident %d before and %d behind", done, err, before, after)
	}
	for _, o := range []heap.PrepareOptions{
		{Offset: 1}, {Size: 4096}, {Offset: h.Size()}, {Offset: 1 << 16, Size: h.Size()}, {Offset: h.Size() + 1<<16, Size: 1 << 16},
	} {
		if _, err := h.Prepare(t.Context(), &o); !errors.Is(err, heap.ErrOffset) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	part, err := h.Prepare(ctx, &heap.PrepareOptions{Progress: func(uint64, uint64) { cancel() }})
	if !errors.Is(err, context.Canceled) || part.Present == 0 || part.Present > 32<<20 {
		t.Errorf("cancelled: %+v, %v", part, err)
	}
}

// interleaved makes a heap whose storage is to be spread over the nodes, with n bytes of it in use.
func interleaved(t *testing.T, n int) *heap.Heap {
	t.Helper()
	dir := filepath.Join("/dev/shm", fmt.Sprintf("shmheap-pages-%d", os.Getpid()))
	t.Cleanup(func() { os.RemoveAll(dir) })
	h, a := create(t, heap.Options{Dir: dir, Size: 64 << 20, Interleave: true})
	s, err := alloc.MakeSlice[byte](a, n, n)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += os.Getpagesize() {
		s.Slice()[i] = 1
	}
	return h
}

// nodesOf returns the line of numa_maps about the mapping that begins at an address, which has its policy, and how many of its
// pages lie in each node.
func nodesOf(t *testing.T, base uint64) (line string, pages map[string]int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/numa_maps")
	if err != nil {
		shmtest.SkipAnywhere(t, err.Error())
	}
	for line := range strings.Lines(string(text)) {
		at, _, _ := strings.Cut(line, " ")
		if n, err := strconv.ParseUint(at, 16, 64); err != nil || n != base {
			continue
		}
		pages = map[string]int{}
		for _, field := range strings.Fields(line) {
			node, count, ok := strings.Cut(field, "=")
			if n, err := strconv.Atoi(strings.TrimPrefix(node, "N")); ok && err == nil && node == fmt.Sprint("N", n) {
				pages[node], _ = strconv.Atoi(count)
			}
		}
		return line, pages
	}
	t.Fatalf("nothing at %#x in numa_maps:\n%s", base, text)
	return "", nil
}

// TestInterleave: the policy is the region's.
func TestInterleave(t *testing.T) {
	h := interleaved(t, 1<<20)
	if line, _ := nodesOf(t, h.Base()); !strings.Contains(line, " interleave") {
		t.Errorf("numa_maps: %s", line)
	}
}

// TestInterleaveNodes: what a heap is given lies in all nodes alike.
func TestInterleaveNodes(t *testing.T) {
	const size = 16 << 20
	nodes, err := filepath.Glob("/sys/devices/system/node/node[0-9]*")
	if err != nil || len(nodes) < 2 {
		shmtest.SkipAnywhere(t, fmt.Sprintf("this machine has %d nodes", len(nodes)))
	}
	h := interleaved(t, size)
	line, pages := nodesOf(t, h.Base())
	share := size / os.Getpagesize() / len(nodes)
	for _, node := range nodes {
		name := "N" + strings.TrimPrefix(filepath.Base(node), "node")
		if n := pages[name]; n < share*9/10 || n > share*3/2 {
			t.Errorf("%d pages in %s, want some %d: %s", n, name, share, line)
		}
	}
	t.Logf("note: %v pages", pages)
}

// TestNoNodes: where the kernel has no nodes the option is refused, and no heap stays behind.
func TestNoNodes(t *testing.T) {
	if _, err := os.Stat("/proc/self/numa_maps"); err == nil {
		shmtest.SkipAnywhere(t, "this kernel has nodes")
	}
	o := heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20, Interleave: true}
	if _, err := heap.Create("pages", &o); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v, want an error that wraps %v", err, errors.ErrUnsupported)
	}
	o.Interleave = false
	if list, err := heap.List(&o); err != nil || len(list) != 0 {
		t.Errorf("behind it there are the heaps %v, %v", list, err)
	}
}

// TestWalk measures a walk at random over a heap, each step of which waits for the one before.
func TestWalk(t *testing.T) {
	size, err := walkSize()
	if err != nil {
		t.Fatal(err)
	}
	if size == 0 {
		size = 64 << 20
	}
	t.Run("pages of 4 KiB", func(t *testing.T) {
		dir := mount(t, "tmpfs", fmt.Sprintf("size=%d", size+size/4+64<<20))
		walk(t, heap.Options{Dir: filepath.Join(dir, "heaps"), Size: size + size/8 + 64<<20}, size, nil)
	})
	t.Run("transparent huge pages", func(t *testing.T) {
		setting(t, shmemHuge, "advise")
		dir := mount(t, "tmpfs", fmt.Sprintf("size=%d", size+size/4+64<<20))
		o := heap.Options{Dir: filepath.Join(dir, "heaps"), Size: size + size/8 + 64<<20, HugePages: true}
		walk(t, o, size, &heap.PrepareOptions{Huge: true})
	})
	t.Run("hugetlbfs", func(t *testing.T) {
		pool(t, int(size/huge+size/huge/16+16))
		dir := mount(t, "hugetlbfs", "pagesize=2M")
		walk(t, heap.Options{Path: filepath.Join(dir, "walk.heap"), Size: size + size/8 + 64<<20}, size, nil)
	})
}

// walkSize reads SHMHEAP_WALK, as in 4GiB; 0 when it is not set.
func walkSize() (uint64, error) {
	text, ok := os.LookupEnv("SHMHEAP_WALK")
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "GiB"), 10, 64)
	return n << 30, err
}

// threadTime is how long this thread has run, so that what others do on the machine counts less.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func walk(t *testing.T, o heap.Options, size uint64, prepare *heap.PrepareOptions) {
	t.Helper()
	h, a := create(t, o)
	s, err := alloc.MakeSlice[uint64](a, int(size/8), int(size/8))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	done, err := h.Prepare(t.Context(), prepare)
	if errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	prepared := time.Since(begin)
	steps := 1 << 20
	if size > 1<<30 {
		steps = 5 << 20
	}
	words := s.Slice()
	mask := uint64(len(words) - 1)
	if uint64(len(words))&mask != 0 {
		t.Fatalf("%d words are no power of two", len(words))
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Hour
	for range 3 {
		x := uint64(1)
		before := threadTime(t)
		for range steps { // all words are 0, which the processor does not know
			x = x*6364136223846793005 + 1442695040888963407 + words[x>>20&mask]
		}
		best = min(best, threadTime(t)-before)
		if x == 0 {
			t.Log(x)
		}
	}
	t.Logf("note: %d MiB: %.1f ns a step; prepared in %.2f s, %d MiB huge, %d MiB small", size>>20,
		float64(best.Nanoseconds())/float64(steps), prepared.Seconds(), done.Huge>>20, done.Small>>20)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}
