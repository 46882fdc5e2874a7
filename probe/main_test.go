package probe

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

const (
	childVariable = "PROBE_TEST_CHILD"
	seedVariable  = "PROBE_TEST_SEED"
)

// children are the programs that a test can run in a process of its own.
var children = map[string]func() error{}

func TestMain(m *testing.M) {
	child, ok := children[os.Getenv(childVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// eachWay runs a test with every way to take a range that this build and this system have.
func eachWay(t *testing.T, test func(t *testing.T, take way)) {
	t.Run("hint", func(t *testing.T) { test(t, byHint) })
	if version, err := sys.KernelVersion(); err != nil || !flagIsSound(runtime.GOOS, version) || !sys.HasNoReplace {
		return
	}
	t.Run("flag", func(t *testing.T) { test(t, byFlag) })
}

const areaSize = 256 << 20

var areas atomic.Uint64

// area returns the start of areaSize addresses that nothing else in this process uses.
func area(t *testing.T) uint64 {
	t.Helper()
	windows := Windows()
	if len(windows) == 0 {
		shmtest.SkipAnywhere(t, fmt.Sprintf("no windows are known for %s/%s", runtime.GOOS, runtime.GOARCH))
	}
	w := windows[0]
	n := (w.End - w.Start) / areaSize
	return w.Start + areas.Add(1)%n*areaSize
}

// seeded returns a random source. A failing test prints how to get the same one again.
func seeded(t *testing.T) func(stream uint64) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: %s=%d go test -run '^%s$' ./probe", seedVariable, seed, t.Name())
		}
	})
	return func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
}

// tempFile returns a file of size bytes.
func tempFile(t *testing.T, size uint64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	return f
}

// mustReserve reserves and releases at the end of the test.
func mustReserve(t *testing.T, base, size uint64, take way) *Reservation {
	t.Helper()
	r, err := reserve(base, size, take)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Release(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// foreign is a mapping that belongs to somebody else: this package did not make it and must leave it
// alone. Each granule of it holds a canary.
type foreign struct {
	span   Range
	memory mem.Memory
	canary uint64
}

// occupy maps f at span, or anywhere when span starts at 0. It reports false when span is not free.
func occupy(f *os.File, span Range, canary uint64) (*foreign, bool, error) {
	at, err := sys.ReserveHint(span.Start, span.Size())
	if err != nil {
		return nil, false, err
	}
	if span.Start != 0 && at != span.Start {
		return nil, false, sys.Unmap(at, span.Size())
	}
	p, err := sys.MapFile(f, at, span.Size(), true)
	if err != nil {
		return nil, false, err
	}
	o := &foreign{Range{at, at + span.Size()}, mem.At(p, span.Size()), canary}
	for off := uint64(0); off < o.span.Size(); off += Guard {
		*mem.View[uint64](o.memory, off) = canary
	}
	return o, true, nil
}

// check returns an error when a canary is gone or out of reach.
func (o *foreign) check() error {
	return orFault(func() error {
		for off := uint64(0); off < o.span.Size(); off += Guard {
			if got := *mem.View[uint64](o.memory, off); got != o.canary {
				return fmt.Errorf("mapping %v was replaced: %#x at %#x, want %#x", o.span, got, off, o.canary)
			}
		}
		return nil
	})
}

// orFault returns the error of f, or one that says that f could not access memory.
func orFault(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("mapping was replaced: no access at %#x", fault.Addr())
		default:
			panic(fault)
		}
	}()
	return f()
}

func (o *foreign) leave() error { return sys.Unmap(o.span.Start, o.span.Size()) }

// mustOccupy occupies span, and at the end of the test finds it untouched. It returns the path of the
// file that is mapped there.
func mustOccupy(t *testing.T, span Range) string {
	t.Helper()
	f := tempFile(t, span.Size())
	o, ok, err := occupy(f, span, 0xCA9A27)
	if err != nil || !ok {
		t.Fatalf("occupy %v: %t, %v", span, ok, err)
	}
	t.Cleanup(func() {
		if err := o.check(); err != nil {
			t.Error(err)
		}
		if err := o.leave(); err != nil {
			t.Error(err)
		}
	})
	return f.Name()
}

// resolved returns a path as the kernel tells it: on macOS the directory for temporary files is behind a link.
func resolved(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// at returns the mapping that address lies in.
func at(t *testing.T, address uint64) (found Mapping, ok bool) {
	t.Helper()
	mappings, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mappings {
		if m.Contains(address) {
			return m, true
		}
	}
	return Mapping{}, false
}
