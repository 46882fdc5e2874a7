package kernel

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// compile compiles a program of testdata with a clang that knows arenas.
func compile(t *testing.T, source string) *bpf.Object {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program.o")
	var said []string
	for _, clang := range []string{"clang-21", "clang-20", "clang-19", "clang"} {
		cmd := exec.Command(clang, "-target", "bpf", "-mcpu=v4", "-O2", "-Wall", "-Werror", "-c", "-o", out, filepath.Join("testdata", source))
		text, err := cmd.CombinedOutput()
		if err == nil {
			f, err := os.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			o, err := bpf.ReadObject(f)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		said = append(said, clang+": "+err.Error()+" "+string(text))
	}
	// It is 250 MB to install, for one test.
	shmtest.SkipAnywhere(t, "no clang from version 19 on: install clang-19: "+strings.Join(said, "; "))
	return nil
}

// TestClang: a program that clang has compiled follows raw pointers in the heap.
func TestClang(t *testing.T) {
	l := newLab(t)
	o := compile(t, "sum.c")
	if !slices.Equal(o.Names(), []string{"sum"}) {
		t.Fatalf("functions %q", o.Names())
	}
	if _, err := o.Code("sum", nil); !errors.Is(err, bpf.ErrObject) {
		t.Errorf("without its map: %v", err)
	}
	r, err := arena.Of(l.heap)
	if err != nil {
		t.Fatal(err)
	}
	code, err := o.Code("sum", map[string]int{"arena": int(r.File().Fd())})
	if err != nil {
		t.Fatal(err)
	}
	p, err := bpf.Load(&bpf.Spec{Name: "sum", Type: bpf.Syscall, Raw: code})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const n = 1000
	first := makeList(t, l.alloc, n)
	context := make([]byte, 24)
	binary.LittleEndian.PutUint64(context, l.heap.Base()+offsetOf(l.alloc, first))
	if answer, err := p.Run(context); answer != 0 || err != nil {
		t.Fatal(answer, err)
	}
	sum, count := binary.LittleEndian.Uint64(context[8:]), binary.LittleEndian.Uint64(context[16:])
	if sum != n*(n+1)/2 || count != n || first.Value != 0 {
		t.Errorf("sum %d of %d, first value %d", sum, count, first.Value)
	}
}
