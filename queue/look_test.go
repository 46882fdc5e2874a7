package queue

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

func everywhere(uint64) bool { return true }

func mustSee(t testing.TB, m *member, r heap.Root) Seen {
	t.Helper()
	s, err := look(m, r, everywhere)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLookAtQueue: depth, handles and counts of a queue.
func TestLookAtQueue(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	q := m.queue(t, &Options{Kind: MPMC, Capacity: 64, Handles: 4})
	root := heap.Root{Name: "q", Offset: q.off, Type: rootType}
	p, c := mustProducer(t, q), mustConsumer(t, q)
	for n := range 40 {
		wantErr(t, "push", p.TryPush(q.element(n+1)), nil)
	}
	for range 10 {
		_, err := c.TryPop()
		wantErr(t, "pop", err, nil)
	}
	s := mustSee(t, m, root)
	if s.Kind != "mpmc" || s.Cap != 64 || s.Elements != 30 || s.Closed || s.PushWaits || s.PopWaits ||
		len(s.Producers) != 1 || s.Producers[0] != m.id || len(s.Consumers) != 1 {
		t.Errorf("%+v", s)
	}
	if s.Pushed < 32 || s.Pushed > 40 || s.Popped > 10 || s.Modulus != 4096*64 {
		t.Errorf("about 40 pushed and 10 popped: %+v", s)
	}
	q.Close()
	q.head.Pops.Need.Swap(1)
	if s := mustSee(t, m, root); !s.Closed || !s.PopWaits {
		t.Errorf("closed, and somebody asleep: %+v", s)
	}
}

// TestLookAtOthers: a broadcast ring, a mailbox, and what is neither.
func TestLookAtOthers(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	b := newBroadcast(t, m, &BroadcastOptions{Capacity: 8, Words: 3})
	w := mustWriter(t, b)
	for range 20 {
		wantErr(t, "write", w.Write(1), nil)
	}
	s := mustSee(t, m, heap.Root{Offset: b.q.off, Type: broadcastType})
	if s.Kind != "broadcast" || s.Cap != 8 || s.Elements != 8 || s.Pushed != 20 || len(s.Producers) != 1 {
		t.Errorf("%+v", s)
	}
	box, off := newMailbox(t, m)
	root := heap.Root{Offset: off, Type: mailboxType}
	if _, err := box.Client(); err != nil {
		t.Fatal(err)
	}
	if s := mustSee(t, m, root); s.Kind != "mailbox" || s.Elements != 0 || len(s.Producers) != 1 || len(s.Consumers) != 0 {
		t.Errorf("%+v", s)
	}
	box.box.Turn.StoreRelease(5)
	if s := mustSee(t, m, root); s.Elements != 1 || s.Pushed != 3 || s.Popped != 2 {
		t.Errorf("third request: %+v", s)
	}
	_, err := look(m, root, func(uint64) bool { return false })
	wantErr(t, "without storage", err, ErrCorrupt)
	_, err = look(m, heap.Root{Offset: off, Type: rootType}, everywhere)
	wantErr(t, "a mailbox as a queue", err, ErrCorrupt)
}

// TestLookAtHostileQueue: whatever is in a queue, looking ends, and stays inside.
func TestLookAtHostileQueue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		m := newGoRegion(t, 1<<14).join()
		q := m.queue(t, &Options{Capacity: 8, Handles: 4})
		for range 1 + rng.IntN(6) {
			at := q.off + uint64(rng.IntN(HeaderSize/8+14))*8
			binary.LittleEndian.PutUint64(m.memory.Bytes(at, 8), rng.Uint64()>>rng.IntN(64))
		}
		for _, kind := range []heap.Fingerprint{rootType, broadcastType, mailboxType} {
			_, err := look(m, heap.Root{Offset: q.off, Type: kind}, everywhere)
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, heap.ErrVersion) && !errors.Is(err, ErrOffset) {
				t.Fatal(err)
			}
		}
	}
}

// TestLook: through a view, and by another type of root.
func TestLook(t *testing.T) {
	o := &heap.Options{Dir: filepath.Join(t.TempDir(), "heaps"), Size: 16 << 20}
	h, err := heap.Create("a", o)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(a, "jobs", &Options{Capacity: 100_000}); err != nil {
		t.Fatal(err)
	}
	v, err := heap.Look("a", o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	roots, err := v.Roots()
	if err != nil || len(roots) != 1 {
		t.Fatalf("%+v, %v", roots, err)
	}
	if s, err := Look(v, roots[0]); err != nil || s.Cap != 1<<17 || s.Elements != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	roots[0].Type++
	_, err = Look(v, roots[0])
	wantErr(t, "a root of another type", err, ErrNoQueue)
}
