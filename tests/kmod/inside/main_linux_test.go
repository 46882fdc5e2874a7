package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/shmtest/conform"
	"github.com/shmheap/shmheap/kmod"
)

// Control words that the partner knows.
const (
	wordAsk     = 0
	wordAnswer  = 1
	wordTorn    = 2
	wordRead    = 3
	wordRecords = 4
	wordPush    = 5
	wordBase    = 6
	wordPushed  = 7
	wordWritten = 8
	wordSeq     = 16
	wordGroup   = 17
	groupWords  = 4
)

const (
	partnerPath = "/dev/shmheap_partner"
	heapSize    = 16 << 20
)

func TestMain(m *testing.M) {
	conform.Main(m, map[string]func() error{"stranger": stranger, "victim": victim}, inModule)
}

// inModule are heaps in the module's memory, for the suite that all kinds of heaps pass.
var inModule = conform.Backend{Name: "module", Kernel: func([]*os.File) heap.Kernel { return opened().Kernel(nil) }}

// opened is the device, open as long as the process lives. The suite asks for it where it is known to be there.
var opened = sync.OnceValue(func() *kmod.Device {
	d, err := kmod.Open()
	if err != nil {
		panic(err)
	}
	return d
})

// device opens the device, or skips the test where there is none.
func device(t testing.TB) *kmod.Device {
	t.Helper()
	d, err := kmod.Open()
	if e, ok := errors.AsType[*kmod.UnavailableError](err); ok {
		shmtest.SkipAnywhere(t, e.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

var names atomic.Int64

// newName returns a name that no other test has.
func newName() string { return fmt.Sprintf("test-%d-%d", os.Getpid(), names.Add(1)) }

// newHeap makes a heap in the module's memory.
func newHeap(t testing.TB, d *kmod.Device, o *kmod.InstanceOptions) (*heap.Heap, *alloc.Allocator, *kmod.Instance) {
	t.Helper()
	h, err := heap.Create(newName(), &heap.Options{Size: heapSize, Dir: filepath.Join(t.TempDir(), "heaps"), Kernel: d.Kernel(o), MaxPeers: 64, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return h, a, kmod.Of(h)
}

// partner makes the kernel work in an instance until the test ends, or until the function is called.
func partner(t testing.TB, name string) (stop func()) {
	t.Helper()
	f, err := os.OpenFile(partnerPath, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(name); err != nil {
		t.Fatalf("the partner refuses %q: %v", name, err)
	}
	t.Cleanup(func() { f.Close() })
	return func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// patient is how long anything may take.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(shmtest.Patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
