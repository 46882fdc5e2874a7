package queue

import "testing"

// The benchmarks measure what an operation costs one processor, with nobody else there. Between
// processes: shmheap bench queue.

func BenchmarkPushPop(b *testing.B) {
	for name, k := range kinds {
		b.Run(name, func(b *testing.B) {
			m := newGoRegion(b, testSize).join()
			q := m.queue(b, &Options{Kind: k})
			p, c := mustProducer(b, q), mustConsumer(b, q)
			v := q.element(1)
			for b.Loop() {
				if p.TryPush(v) != nil {
					b.Fatal("full")
				}
				if _, err := c.TryPop(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBatch32(b *testing.B) {
	m := newGoRegion(b, testSize).join()
	q := m.queue(b, &Options{Kind: SPSC})
	p, c := mustProducer(b, q), mustConsumer(b, q)
	var batch [32]uint64
	for i := range batch {
		batch[i] = q.element(i)
	}
	for b.Loop() {
		if n, _ := p.TryPushAll(batch[:]); n != len(batch) {
			b.Fatal("full")
		}
		if n, _ := c.TryPopAll(batch[:]); n != len(batch) {
			b.Fatal("empty")
		}
	}
}

func BenchmarkHand(b *testing.B) {
	m := newGoRegion(b, testSize).join()
	hs := m.hands(b, 2)
	q := m.queue(b, &Options{Hands: hs})
	one, two := mustHand(b, hs), mustHand(b, hs)
	out, in := mustPort(b, one, q), mustPort(b, two, q)
	block := m.room(16)
	for b.Loop() {
		one.record.Held.StoreRelease(one.address(block))
		if err := out.TrySend(); err != nil {
			b.Fatal(err)
		}
		if _, err := in.TryReceive(); err != nil {
			b.Fatal(err)
		}
		two.record.Held.StoreRelease(0)
	}
}
