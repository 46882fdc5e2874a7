package alloc

import (
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

// TestRecoverWaitsForOthers: while another live peer is recovering a dead one, Recover does not return,
// because what the dead one had under way is not settled. If it did, its caller could free the block
// of the word below, and the other peer would free it again.
func TestRecoverWaitsForOthers(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	first, _ := r.join(t)
	word := mustAlloc(t, mustCache(t, first), 64)
	r.memory.Word(word).StoreRelease(0)

	dead, deadMember := r.join(t)
	c := mustCache(t, dead)
	b := &c.common().all[layout.ClassOf(32)]
	off, bit, err := c.peekBlock(b)
	if err != nil {
		t.Fatal(err)
	}
	c.setIntent(off, layout.IntentAlloc, word)
	b.takeBit(bit)
	r.memory.Word(word).StoreRelease(dead.address(off))

	slow, _ := r.join(t)
	quick, _ := r.join(t)
	deadMember.die()
	taken, done, _, err := slow.takeDead()
	if err != nil || len(taken) != 1 {
		t.Fatalf("took %v: %v", taken, err)
	}
	if _, pending, err := quick.recoverOnce(); !pending || err != nil {
		t.Fatalf("pending %v, %v while another peer is recovering", pending, err)
	}
	returned := make(chan error)
	go func() {
		_, err := quick.Recover()
		if c.record.Intent.Load() != 0 || c.record.Owner.Load() != 0 {
			t.Error("Recover returned before the dead cache was settled")
		}
		returned <- err
	}()
	for id := range taken {
		slow.settle(id)
		if err := slow.returnSpans(taken, &done); err != nil {
			t.Error(err)
		}
		slow.caches[id].Owner.StoreRelease(0)
	}
	if err := <-returned; err != nil {
		t.Error(err)
	}
	if got := r.memory.Word(word).Load(); got != dead.address(off) {
		t.Errorf("the word is %#x, the block is at %#x", got, dead.address(off))
	}
	mustCheck(t, quick)
	mustCount(t, quick, 2)
}

// TestDeadRecovererIsRecovered: a peer that dies while it recovers another leaves both to the next.
func TestDeadRecovererIsRecovered(t *testing.T) {
	r := newGoRegion(t, 16<<20)
	survivor, _ := r.join(t)
	victim, v := r.join(t)
	mustAlloc(t, mustCache(t, victim), 100)
	helper, h := r.join(t)
	mustAlloc(t, mustCache(t, helper), 100)
	v.die()
	if taken, _, _, err := helper.takeDead(); len(taken) != 1 || err != nil {
		t.Fatalf("took %v: %v", taken, err)
	}
	h.die()
	done, err := survivor.Recover()
	if err != nil || done.Caches != 2 || done.Slabs != 2 || survivor.Recovered() != done {
		t.Errorf("recovered %+v: %v", done, err)
	}
	mustCheck(t, survivor)
	mustCount(t, survivor, 2)
}
