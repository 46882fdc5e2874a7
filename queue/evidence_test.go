package queue

import (
	"sync"
	"sync/atomic"
	"testing"
)

// evidence is a queue with hands in two processes: a maker here, and there a taker who will die.
type evidence struct {
	here, there *member
	hands       *Hands
	q           *Queue
	maker       *Hand
	out         *Port
	taker       *Hand
	in          *Port
}

func newEvidence(t *testing.T) *evidence {
	t.Helper()
	r := newGoRegion(t, testSize)
	e := &evidence{here: r.join(), there: r.join()}
	e.hands = e.here.hands(t, 4)
	e.q = e.here.queue(t, &Options{Capacity: 2, Hands: e.hands})
	e.maker = mustHand(t, e.hands)
	e.out = mustPort(t, e.maker, e.q)
	far := e.there.at(t, e.q.off)
	far.hands.blocks = e.there
	e.taker = mustHand(t, far.hands)
	e.in = mustPort(t, e.taker, far)
	return e
}

// make sends one more block.
func (e *evidence) make(t *testing.T) {
	t.Helper()
	_, err := e.maker.Make(16)
	wantErr(t, "make", err, nil)
	wantErr(t, "send", e.out.TrySend(), nil)
}

// take receives a block and frees it.
func (e *evidence) take(t *testing.T) {
	t.Helper()
	_, err := e.in.TryReceive()
	wantErr(t, "receive", err, nil)
	wantErr(t, "free", e.taker.Free(), nil)
}

// takeUnsettled receives a block like a taker that is stopped before its last step.
func (e *evidence) takeUnsettled(t *testing.T) {
	t.Helper()
	_, err := e.in.TryReceive()
	wantErr(t, "receive", err, nil)
	e.taker.record.Intent.StoreRelease(e.taker.intent | intentPop)
}

// orphan has the taker die, and fails the test unless the block that it held is kept for the next one.
func (e *evidence) orphan(t *testing.T) {
	t.Helper()
	e.there.die()
	if done, err := e.hands.Recover(); err != nil || done != (Recovered{Hands: 1, Orphans: 1}) {
		t.Errorf("recovered %+v, %v", done, err)
	}
}

// TestCloseKeepsEvidence: the ends of a closed queue do not overwrite what recovery needs.
func TestCloseKeepsEvidence(t *testing.T) {
	e := newEvidence(t)
	e.make(t)
	e.takeUnsettled(t)
	e.q.Close()
	e.orphan(t)
}

// TestCloseKeepsEvidenceOfPush: likewise for a maker that is stopped behind its push, whose block has long been freed.
func TestCloseKeepsEvidenceOfPush(t *testing.T) {
	e := newEvidence(t)
	off, err := e.taker.Make(16)
	wantErr(t, "make", err, nil)
	wantErr(t, "send", mustPort(t, e.taker, e.in.q).TrySend(), nil)
	e.taker.record.Held.StoreRelease(e.taker.address(off))
	e.taker.record.Intent.StoreRelease(e.taker.intent | intentPush)
	in := mustPort(t, e.maker, e.q)
	got, err := in.TryReceive()
	if err != nil || got != off {
		t.Fatal(got, err)
	}
	e.q.Close()
	e.there.die()
	if done, err := e.hands.Recover(); err != nil || done != (Recovered{Hands: 1}) {
		t.Errorf("recovered %+v, %v", done, err)
	}
	wantErr(t, "free", e.maker.Free(), nil)
}

// TestPositionOfTheNext: a record that is looked at between the stores of its next position and intent does not say that the
// next one is settled.
func TestPositionOfTheNext(t *testing.T) {
	e := newEvidence(t)
	e.make(t)
	e.make(t)
	e.take(t)
	before := e.taker.record.Position.Load()
	e.taker.record.Position.StoreRelease(1 | intentPop<<positionKindShift)
	e.make(t) // over the slot that the taker has emptied
	e.taker.record.Position.StoreRelease(before)
	e.takeUnsettled(t)
	e.make(t) // over the next one
	e.orphan(t)
}

// TestPositionOfAnotherQueue: nor is a position in one queue taken for one in another, whenever the record is looked at.
func TestPositionOfAnotherQueue(t *testing.T) {
	const here, there, far = 1 << 12, 1 << 13, 1000
	m := newGoRegion(t, testSize).join()
	h := mustHand(t, m.hands(t, 2))
	var stop atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for n := uint64(0); !stop.Load(); n++ {
			h.announce(intentPop, here, n%far)
			h.settle()
			h.announce(intentPop, there, far+n%far)
			h.settle()
		}
	})
	told := 0
	for n := 0; n < 1_000_000 || told < 100 && n < 10_000_000; n++ {
		last, ok := h.record.judge(here, intentPop, far) // nobody's position
		if ok && last >= far {
			t.Errorf("look %d: position %d is the other queue's", n, last)
			break
		}
		if ok {
			told++
		}
	}
	stop.Store(true)
	group.Wait()
	if told == 0 {
		t.Error("the record never tells")
	}
}

// TestVerdictStays: who is late with the verdict on an earlier intent does not take away that on a later one.
func TestVerdictStays(t *testing.T) {
	e := newEvidence(t)
	r := e.taker.record
	e.make(t)
	e.takeUnsettled(t)
	earlier := r.Intent.Load()
	wantErr(t, "free", e.taker.Free(), nil)
	e.taker.settle()
	e.make(t)
	e.takeUnsettled(t)
	e.make(t) // the slot of the earlier one
	e.make(t) // that of the later one
	r.decide(earlier)
	e.orphan(t)
}
