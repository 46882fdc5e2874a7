package inside

import (
	"errors"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/kmod"
)

// blocksIn returns how many blocks are in use.
func blocksIn(a *alloc.Allocator) (int, error) {
	s, err := a.Stats()
	return int(s.Live), err
}

func controlled(t *testing.T, o *kmod.InstanceOptions) *kmod.Instance {
	t.Helper()
	i := must[*kmod.Instance](t)(device(t).Create(newName(), o))
	t.Cleanup(func() { i.Close() })
	partner(t, i.Name())
	return i
}

// TestControl: one store, and the kernel knows.
func TestControl(t *testing.T) {
	i := controlled(t, nil)
	ask, answer := must[kmod.Word](t)(i.Control(wordAsk)), must[kmod.Word](t)(i.Control(wordAnswer))
	for n := range uint64(100) {
		ask.Store(n * n)
		eventually(t, "the kernel has seen it", func() bool { return answer.Load() == n*n })
	}
	for _, n := range []int{-1, kmod.ControlWords} {
		if _, err := i.Control(n); !errors.Is(err, kmod.ErrOptions) {
			t.Errorf("word %d: %v", n, err)
		}
	}
	if last := must[kmod.Word](t)(i.Control(kmod.ControlWords - 1)); last.Load() != 0 || last.Add(5) != 5 {
		t.Error("the last word is not 0 at first")
	}
}

// TestGroup: the kernel never sees half of a change.
func TestGroup(t *testing.T) {
	i := controlled(t, nil)
	g := must[*kmod.Group](t)(i.Group(wordSeq, wordGroup, groupWords))
	read, torn := must[kmod.Word](t)(i.Control(wordRead)), must[kmod.Word](t)(i.Control(wordTorn))
	begin := read.Load()
	for n := uint64(0); read.Load() < begin+200; n++ {
		if err := g.Store(n, n, n, n); err != nil {
			t.Fatal(err)
		}
		if n%64 == 0 {
			time.Sleep(100 * time.Microsecond) // the timer needs a moment in which nothing changes
		}
	}
	if torn.Load() != 0 {
		t.Errorf("%d of %d reads were of no one change", torn.Load(), read.Load())
	}
	words := must[kmod.Word](t)(i.Control(wordGroup))
	words.Store(^uint64(0)) // without the sequence: it must be noticed
	eventually(t, "a torn group is noticed", func() bool { return torn.Load() != 0 })
}
