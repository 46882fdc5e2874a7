package samples

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/slab"
)

func makeCache(t *testing.T, o slab.Options) *slab.Cache {
	t.Helper()
	c, err := slab.Create(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantInfo returns what slabinfo says of a cache. That counts free objects that processors keep at hand as active, whole
// slabs of them, which are large where pages are.
func wantInfo(t *testing.T, name string, live, slack uint64) slab.Info {
	t.Helper()
	info, err := slab.ReadInfo(name)
	if err != nil {
		t.Fatal(err)
	}
	slack = max(slack, 2*info.ObjectsPerSlab*uint64(runtime.NumCPU()))
	if info.Active < live || info.Active > live+slack || info.Objects < info.Active {
		t.Errorf("%s: %d objects are live; slabinfo: %+v", name, live, info)
	}
	return info
}

// TestSlabObjects: objects of all kinds come and go, and slabinfo shows them.
func TestSlabObjects(t *testing.T) {
	needGuest(t)
	for _, o := range []slab.Options{
		{Size: 8}, {Size: 192, Align: 64, Flags: slab.HWCacheAlign}, {Size: 1000, Flags: slab.Account | slab.ReclaimAccount},
		{Size: 200, Align: 4096}, {Size: 320, Flags: slab.TypesafeByRCU}, {Size: slab.MaxSize},
		{Size: 136, Flags: slab.Poison | slab.RedZone | slab.StoreUser | slab.ConsistencyChecks},
	} {
		c := makeCache(t, o)
		n := min(10_000, c.MaxObjects())
		how := slab.Fill
		if o.Size > 500 {
			how = slab.Zero | slab.NoWait
		}
		if done, err := c.Alloc(n, how); err != nil || done != n {
			t.Fatalf("%+v: allocated %d of %d: %v", o, done, n, err)
		}
		info := wantInfo(t, c.Name(), n, n/2+200)
		if info.ObjectSize < uint64(o.Size) || o.Align != 0 && info.ObjectSize%uint64(o.Align) != 0 {
			t.Errorf("%+v: slabinfo: %+v", o, info)
		}
		if done, err := c.Free(1, 2, slab.All); err != nil || done != n/2 {
			t.Errorf("%+v: freed %d of %d, every other one: %v", o, done, n, err)
		}
		wantInfo(t, c.Name(), n-n/2, n/2+200)
		if done, err := c.Alloc(n/2, how); err != nil || done != n/2 {
			t.Errorf("%+v: allocated %d of %d again: %v", o, done, n/2, err)
		}
		if s, err := c.Stats(); err != nil || s.Slots != n || s.Live != n || s.Allocated != s.Live+s.Freed {
			t.Errorf("%+v: %+v of %d: the holes were not filled: %v", o, s, n, err)
		}
		if done, err := c.Free(0, 1, slab.All); err != nil || done != n {
			t.Errorf("%+v: freed %d of %d: %v", o, done, n, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wantGone(t, c.Name())
	}
}

// wantGone waits until a cache is gone: the kernel removes some of them a little later.
func wantGone(t *testing.T, name string) {
	t.Helper()
	shmtest.Until(t, "end of "+name, func() bool {
		_, err := slab.ReadInfo(name)
		return errors.Is(err, slab.ErrNoCache)
	})
	if _, err := os.Stat("/sys/kernel/slab"); err == nil { // not every kernel has it
		shmtest.Until(t, "end of "+name+" in sysfs", func() bool {
			_, err := os.Lstat(path.Join("/sys/kernel/slab", name))
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

const tracefs = "/sys/kernel/tracing"

// TestSlabTracepoints counts the objects by the kernel's own tracepoints.
func TestSlabTracepoints(t *testing.T) {
	needGuest(t)
	if err := syscall.Mount("tracefs", tracefs, "tracefs", 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
		t.Fatal(err)
	}
	const size, n = 1736, 1000 // a size that nobody else has
	c := makeCache(t, slab.Options{Size: size})
	dir := path.Join(tracefs, "instances", "samples")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	write(t, path.Join(dir, "buffer_size_kb"), "2048")
	for event, filter := range map[string]string{
		"kmem_cache_alloc": fmt.Sprintf("bytes_req == %d", size), "kmem_cache_free": fmt.Sprintf("name == %q", c.Name()),
	} {
		write(t, path.Join(dir, "events/kmem", event, "filter"), filter)
		write(t, path.Join(dir, "events/kmem", event, "enable"), "1")
	}
	if _, err := c.Alloc(n, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Free(0, 1, n/4); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path.Join(dir, "tracing_on"), "0")
	text, err := os.ReadFile(path.Join(dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	allocs, frees := strings.Count(string(text), ": kmem_cache_alloc: "), strings.Count(string(text), ": kmem_cache_free: ")
	if allocs != n || frees != n {
		t.Errorf("the tracepoints saw %d allocations and %d frees of %d objects\n%.2000s", allocs, frees, n, text)
	}
}

// runKeeper is a process that has objects until it is killed.
func runKeeper() error {
	c, err := slab.Create(&slab.Options{Size: 192})
	if err != nil {
		return err
	}
	if _, err := c.Alloc(5000, slab.Fill); err != nil {
		return err
	}
	fmt.Println(c.Name())
	shmtest.Listen()
	return nil
}

// TestSlabKill: what a process had goes back when it dies.
func TestSlabKill(t *testing.T) {
	needGuest(t)
	keeper := shmtest.Start(t, "keeper")
	name := keeper.Hear()
	wantInfo(t, name, 5000, 500)
	keeper.Kill()
	wantGone(t, name)
}

// runCaches is a process that makes caches and objects until it is killed.
func runCaches() error {
	fmt.Println("up")
	go shmtest.Listen()
	for {
		c, err := slab.Create(&slab.Options{Size: 64 + rand.Uint32N(512), Flags: slab.Flags(rand.Uint32N(4))})
		if err != nil {
			return err
		}
		for range 5 {
			if _, err := c.Alloc(1+rand.Uint64N(2000), slab.Fill); err != nil {
				return err
			}
			if _, err := c.Free(rand.Uint64N(100), 1+rand.Uint64N(3), rand.Uint64N(1000)); err != nil {
				return err
			}
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
}

// TestSlabStorm kills processes at any moment; no cache is left.
func TestSlabStorm(t *testing.T) {
	needGuest(t)
	const processes = 3
	kills := kills(t, 30)
	var running [processes]*shmtest.Process
	for i := range running {
		running[i] = shmtest.Start(t, "caches")
	}
	for n := range kills {
		i := n % processes
		running[i].Want("up")
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		running[i].Kill()
		if n < kills-processes {
			running[i] = shmtest.Start(t, "caches")
		}
	}
	c := makeCache(t, slab.Options{Size: 64})
	shmtest.Until(t, "end of all other caches", func() bool {
		s, err := c.Stats()
		return err == nil && s.Caches == 1
	})
}

// TestSlabLimits: more than the module allows is refused, and said.
func TestSlabLimits(t *testing.T) {
	needGuest(t)
	c := makeCache(t, slab.Options{Size: 4096})
	done, err := c.Alloc(c.MaxObjects()+10, 0)
	if !errors.Is(err, slab.ErrLimit) || done != c.MaxObjects() || done*4096 != 16<<20 {
		t.Errorf("allocated %d of at most %d: %v", done, c.MaxObjects(), err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	var all []*slab.Cache
	for {
		c, err := slab.Create(&slab.Options{Size: 64})
		if err != nil {
			if !errors.Is(err, slab.ErrLimit) {
				t.Error(err)
			}
			break
		}
		all = append(all, c)
	}
	if len(all) != 16 {
		t.Errorf("there may be %d caches, want 16", len(all))
	}
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// runCacheInfo is the program that the command runs: it tells of the cache.
func runCacheInfo() error {
	info, err := slab.ReadInfo(os.Getenv("SHMHEAP_KMEM_CACHE"))
	fmt.Fprintf(os.Stderr, "%+v\n", info)
	if err == nil && info.Active < 9000 {
		err = fmt.Errorf("too few objects: %+v", info)
	}
	return err
}

// TestSlabCommand: the command makes the objects, runs a program, and leaves nothing behind.
func TestSlabCommand(t *testing.T) {
	needGuest(t)
	cmd := exec.Command("/programs/shmheap", "kmem", "--json", "--size", "192", "--count", "10000", "--align", "64",
		"--flags", "hwcache_align,account", "--fill", "--free", "1000", "--every", "2", "--", os.Args[0])
	cmd.Env = append(os.Environ(), "SHMTEST_PROGRAM=cacheinfo")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, complaints.String())
	}
	var got struct {
		Cache                  string
		Allocated, Freed, Live uint64
		Slabinfo               struct{ Active uint64 }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Allocated != 10_000 || got.Freed != 1000 || got.Live != 9000 || got.Slabinfo.Active < 9000 {
		t.Errorf("%+v", got)
	}
	wantGone(t, got.Cache)
	status := exec.Command("/programs/shmheap", "kmem", "--size", "64", "--", "/nonsense").Run()
	if status == nil {
		t.Error("a program that is not there: no error")
	}
}
