package queue

import (
	"errors"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// TestHandOver: a block goes from hand to hand through a queue and is freed once.
func TestHandOver(t *testing.T) {
	eachKind(t, func(t *testing.T, k Kind) {
		m := newGoRegion(t, testSize).join()
		hs := m.hands(t, 4)
		q := m.queue(t, &Options{Kind: k, Capacity: 4, Hands: hs})
		one, two := mustHand(t, hs), mustHand(t, hs)
		out, in := mustPort(t, one, q), mustPort(t, two, q)
		wantErr(t, "send of nothing", out.TrySend(), ErrHoldsNone)
		for range 50 {
			made, err := one.Make(64)
			if err != nil || made != one.Held() {
				t.Fatal(made, err)
			}
			_, err = one.Make(64)
			wantErr(t, "make with a full hand", err, ErrHolds)
			wantErr(t, "close with a full hand", one.Close(), ErrHolds)
			if err := out.Send(t.Context()); err != nil || one.Held() != 0 {
				t.Fatal(err)
			}
			got, err := in.Receive(t.Context())
			if err != nil || got != made || two.Held() != made {
				t.Fatalf("received %#x, %v, want %#x", got, err, made)
			}
			_, err = in.TryReceive()
			wantErr(t, "receive with a full hand", err, ErrHolds)
			if err := two.Free(); err != nil || two.Held() != 0 {
				t.Fatal(err)
			}
			wantErr(t, "free of nothing", two.Free(), ErrHoldsNone)
		}
		if n := m.inUse(); n != 0 {
			t.Errorf("%d blocks in use", n)
		}
		if err := errors.Join(out.Close(), in.Close(), one.Close(), two.Close()); err != nil {
			t.Error(err)
		}
		_, err := one.Make(1)
		wantErr(t, "make with a closed hand", err, ErrDetached)
		wantErr(t, "send with a closed hand", out.TrySend(), ErrDetached)
	})
}

// TestPut: a block goes from a hand into a word.
func TestPut(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	h := mustHand(t, m.hands(t, 2))
	word := m.room(8)
	wantErr(t, "put nothing", h.Put(word), ErrHoldsNone)
	off, err := h.Make(16)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "put nowhere", h.Put(8), ErrOffset)
	wantErr(t, "put", h.Put(word), nil)
	if at := m.memory.Word(word).Load(); at != h.address(off) || h.Held() != 0 {
		t.Errorf("the word is %#x, the hand holds %#x", at, h.Held())
	}
	if _, err := h.Make(16); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "put on a full word", h.Put(word), alloc.ErrOccupied)
	if h.Held() == 0 {
		t.Error("the block is gone")
	}
}

// TestRecoverHeld: what a dead process had made is freed, what it had received comes again.
func TestRecoverHeld(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	hs := here.hands(t, 4)
	q := here.queue(t, &Options{Capacity: 4, Hands: hs})
	far := there.at(t, q.off)
	far.hands.blocks = there
	one, two := mustHand(t, far.hands), mustHand(t, far.hands)
	if _, err := one.Make(32); err != nil {
		t.Fatal(err)
	}
	if err := mustPort(t, one, far).TrySend(); err != nil {
		t.Fatal(err)
	}
	got, err := mustPort(t, two, far).TryReceive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Make(32); err != nil {
		t.Fatal(err)
	}
	if done, err := hs.Recover(); err != nil || done != (Recovered{}) {
		t.Errorf("recovered %+v, %v of the living", done, err)
	}
	there.die()
	if done, err := hs.Recover(); err != nil || done != (Recovered{Hands: 2, Freed: 1, Orphans: 1}) {
		t.Errorf("recovered %+v, %v", done, err)
	}
	if done, err := hs.Recover(); err != nil || done != (Recovered{}) {
		t.Errorf("recovered %+v, %v again", done, err)
	}
	h := mustHand(t, hs)
	if again, err := mustPort(t, h, q).TryReceive(); err != nil || again != got {
		t.Errorf("received %#x, %v, want %#x", again, err, got)
	}
	if err := h.Free(); err != nil || here.inUse() != 0 {
		t.Errorf("%v, %d blocks in use", err, here.inUse())
	}
	_, err = mustPort(t, h, q).TryReceive()
	wantErr(t, "receive", err, ErrEmpty)
}

// TestRecovererIsAlone: who recovers is not disturbed while it lives, and followed when it is dead.
func TestRecovererIsAlone(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	hs := here.hands(t, 4)
	if _, err := there.handsAt(t, hs.off).lock(); err != nil {
		t.Fatal(err)
	}
	_, err := hs.Recover()
	wantErr(t, "recover while another one does", err, heap.ErrBusy)
	there.die()
	_, err = hs.Recover()
	wantErr(t, "recover after the dead", err, nil)
}

// TestHandsRunOut: the dead make room, the living do not.
func TestHandsRunOut(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	hs := here.hands(t, 2)
	mustHand(t, hs)
	mustHand(t, there.handsAt(t, hs.off))
	_, err := hs.Hand()
	wantErr(t, "a third hand", err, ErrTooMany)
	there.die()
	mustHand(t, hs)
}

// TestHandsConcurrent: many hands push, move and pop; every block is freed once.
func TestHandsConcurrent(t *testing.T) {
	for _, capacity := range []int{2, 64} {
		r := newGoRegion(t, 64<<20)
		m := r.join()
		hs := m.hands(t, 8)
		a := m.queue(t, &Options{Capacity: capacity, Hands: hs})
		b := m.queue(t, &Options{Capacity: capacity, Hands: hs})
		var makers, movers, takers sync.WaitGroup
		for range 2 {
			maker, mover, taker := mustHand(t, hs), mustHand(t, hs), mustHand(t, hs)
			makers.Go(func() { makeAll(t, maker, mustPort(t, maker, a), 3000) })
			movers.Go(func() { moveAll(t, mustPort(t, mover, a), mustPort(t, mover, b)) })
			takers.Go(func() { freeAll(t, taker, mustPort(t, taker, b)) })
		}
		makers.Wait()
		a.Close()
		movers.Wait()
		b.Close()
		takers.Wait()
		if n := m.inUse(); n != 0 {
			t.Errorf("%d blocks in use", n)
		}
	}
}
