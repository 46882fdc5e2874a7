package alloc_test

import (
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// TestUseAfterClose: what was made from a heap that is closed returns ErrClosed, and touches nothing where the mapping was.
func TestUseAfterClose(t *testing.T) {
	h, err := heap.CreateAnonymous(&heap.Options{Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.NewCache()
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]func() error)
	for name, s := range map[string]alloc.Source{"allocator": a, "cache": c} {
		for what, use := range usesOf(t, s) {
			used[name+": "+what] = use
		}
	}
	used["at"] = func() error { _, err := alloc.At[uint64](a, h.Geometry().Sections.Data); return err }
	used["collect"] = func() error { _, err := a.Collect(t.Context(), nil); return err }
	used["trim"] = func() error { _, err := a.Trim(); return err }
	used["close"] = c.Close
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	used["open"] = func() error { _, err := alloc.Open(h); return err }
	for what, use := range used {
		if err := use(); !errors.Is(err, alloc.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// usesOf returns what can be done with a source, a block of it and an arena.
func usesOf(t *testing.T, s alloc.Source) map[string]func() error {
	t.Helper()
	p, err := alloc.New[node](s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := alloc.NewArena(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	block, word := unsafe.Pointer(p), &p.Raw
	uses := map[string]func() error{
		"free":         func() error { return s.Free(block) },
		"free from":    func() error { return s.FreeFrom(word) },
		"publish":      func() error { return s.Publish(block) },
		"usable size":  func() error { _, err := s.UsableSize(block); return err },
		"arena":        func() error { _, err := alloc.NewArena(s, nil); return err },
		"arena's size": func() error { _, err := r.Size(); return err },
		"reset":        r.Reset,
		"free arena":   r.Free,
	}
	for _, size := range []uint64{0, 1, 100, 30_000, 100_000} {
		for what, use := range map[string]func() error{
			"alloc":           func() error { _, err := s.Alloc(size); return err },
			"zeroed":          func() error { _, err := s.AllocZeroed(size); return err },
			"aligned":         func() error { _, err := s.AllocAligned(size, 64); return err },
			"private":         func() error { _, err := s.AllocPrivate(size); return err },
			"into":            func() error { return s.AllocInto(word, size) },
			"realloc":         func() error { _, err := s.Realloc(block, size); return err },
			"realloc nothing": func() error { _, err := s.Realloc(nil, size); return err },
			"realloc into":    func() error { return s.ReallocInto(word, size) },
			"arena's alloc":   func() error { _, err := r.Alloc(size); return err },
		} {
			uses[fmt.Sprintf("%s of %d bytes", what, size)] = use
		}
	}
	return uses
}
