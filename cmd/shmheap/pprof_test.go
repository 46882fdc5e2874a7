package main

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

//go:noinline
func keepOrders(t *testing.T, a *alloc.Allocator) {
	for range 100 {
		if _, err := a.Alloc(10_000); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPprof: what pprof shows is who allocated, and how much.
func TestPprof(t *testing.T) {
	h, err := heap.Create("orders", &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	cmd := &app{out: &output{Writer: io.Discard}}
	if err := cmd.pprof(a, &pprofFlags{rate: 1}); err != nil || a.ProfileRate() != 1 {
		t.Fatalf("rate %d: %v", a.ProfileRate(), err)
	}
	keepOrders(t, a)
	file := filepath.Join(t.TempDir(), "orders.pb.gz")
	if err := cmd.pprof(a, &pprofFlags{off: true, output: file}); err != nil || a.ProfileRate() != 0 {
		t.Fatalf("rate %d: %v", a.ProfileRate(), err)
	}
	var stderr bytes.Buffer
	top := exec.Command("go", "tool", "pprof", "-top", file)
	top.Stderr = &stderr
	out, err := top.Output()
	if err != nil {
		t.Fatalf("go tool pprof: %v\n%s", err, &stderr)
	}
	for _, want := range []string{
		`Type: inuse_space`,
		`976\.56kB +100% .*\.keepOrders`,
		`976\.56kB +100% .*\.TestPprof`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
