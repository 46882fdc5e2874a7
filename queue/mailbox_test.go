package queue

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func newMailbox(t testing.TB, m *member) (*Mailbox, uint64) {
	t.Helper()
	off := m.room(MailboxSize)
	writeMailbox(m.memory, off)
	return mailboxAt(t, m, off), off
}

func mailboxAt(t testing.TB, m *member, off uint64) *Mailbox {
	t.Helper()
	box, err := viewMailbox(m, off)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestMailbox(t *testing.T) {
	for _, spin := range []time.Duration{0, DefaultSpin} {
		box, _ := newMailbox(t, newGoRegion(t, testSize).join())
		client, err := box.Client()
		server, err2 := box.Server()
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		client.SetSpin(spin)
		server.SetSpin(spin)
		wantErr(t, "reply to nothing", server.Reply(nil), ErrEmpty)
		wantErr(t, "call with too much", client.Call(t.Context(), make([]uint64, 8)), ErrOptions)
		var group sync.WaitGroup
		group.Go(func() {
			for range 500 {
				var words [2]uint64
				wantErr(t, "next", server.Next(t.Context(), words[:]), nil)
				words[0], words[1] = words[0]+words[1], 7
				wantErr(t, "reply", server.Reply(words[:]), nil)
			}
		})
		for n := range uint64(500) {
			words := [2]uint64{n, 2 * n}
			if err := client.Call(t.Context(), words[:]); err != nil || words != [2]uint64{3 * n, 7} {
				t.Fatalf("call %d: %v, %v", n, words, err)
			}
		}
		group.Wait()
	}
}

// TestMailboxDeaths: a request whose server died comes again, a reply that nobody waited for is skipped,
// and whoever waits for the dead is told.
func TestMailboxDeaths(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there := r.join(), r.join()
	box, off := newMailbox(t, here)
	client, err := box.Client()
	if err != nil {
		t.Fatal(err)
	}
	_, err = mailboxAt(t, there, off).Client()
	wantErr(t, "a second client", err, ErrTaken)
	server, err := mailboxAt(t, there, off).Server()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	wantErr(t, "call", client.Call(ctx, []uint64{5}), context.DeadlineExceeded)
	var words [1]uint64
	if err := server.Next(t.Context(), words[:]); err != nil || words[0] != 5 {
		t.Fatal(words, err)
	}
	there.die()
	wantErr(t, "call", client.Call(t.Context(), []uint64{6}), ErrNoConsumers)
	next, err := box.Server()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			var words [1]uint64
			if next.Next(t.Context(), words[:]) != nil {
				return
			}
			words[0] *= 10
			next.Reply(words[:])
		}
	}()
	words[0] = 7
	if err := client.Call(t.Context(), words[:]); err != nil || words[0] != 70 {
		t.Errorf("call: %d, %v", words[0], err)
	}
	wantErr(t, "close", client.Close(), nil)
	wantErr(t, "close again", client.Close(), ErrDetached)
}

// TestPair: replies find their askers and their requests.
func TestPair(t *testing.T) {
	m := newGoRegion(t, 4<<20).join()
	hs := m.hands(t, 8)
	commands := m.queue(t, &Options{Capacity: 8, Hands: hs})
	serverHand := mustHand(t, hs)
	server, err := NewAnswerer(serverHand, commands)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group, answering sync.WaitGroup
	answering.Go(func() { answer(t, ctx, m, server) })
	for i := range uint64(3) {
		h := mustHand(t, hs)
		asker, err := NewAsker(h, commands, m.queue(t, &Options{Capacity: 8, Hands: hs}))
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() { ask(t, m, h, asker, i) })
	}
	group.Wait()
	cancel()
	answering.Wait()
	if n := m.inUse(); n != 0 {
		t.Errorf("%d blocks in use", n)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	_, err = NewAnswerer(serverHand, m.queue(t, nil))
	wantErr(t, "a queue without hands", err, ErrKind)
}

// ask sends three requests at a time and matches the replies.
func ask(t *testing.T, m *member, h *Hand, a *Asker, i uint64) {
	for round := range uint64(100) {
		asked := make(map[uint64]uint64)
		for n := range uint64(3) {
			off, err := h.Make(32)
			if err != nil {
				t.Error(err)
				return
			}
			v := i<<32 | round<<8 | n
			m.memory.Word(off + RequestBytes).StoreRelease(v)
			id, err := a.Ask(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			asked[id] = v
		}
		for range 3 {
			id, off, err := a.Reply(t.Context())
			if err != nil || m.memory.Word(off+RequestBytes).Load() != ^asked[id] {
				t.Errorf("reply to %d at %#x: %v", id, off, err)
				return
			}
			delete(asked, id)
			wantErr(t, "free", h.Free(), nil)
		}
	}
	wantErr(t, "close", a.Close(), nil)
}

func answer(t *testing.T, ctx context.Context, m *member, s *Answerer) {
	for {
		off, err := s.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		w := m.memory.Word(off + RequestBytes)
		w.StoreRelease(^w.Load())
		if err := s.Answer(t.Context()); err != nil {
			t.Error(err)
			return
		}
	}
}

// TestReplyToTheDead: the reply to a request of an asker that died is not taken for one to the next asker's, which has the
// same queue.
func TestReplyToTheDead(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	hs := m.hands(t, 3)
	commands, replies := m.queue(t, &Options{Hands: hs}), m.queue(t, &Options{Hands: hs})
	h := mustHand(t, hs)
	server, err := NewAnswerer(mustHand(t, hs), commands)
	wantErr(t, "answerer", err, nil)
	var asked []uint64
	for range 2 {
		a, err := NewAsker(h, commands, replies)
		wantErr(t, "asker", err, nil)
		_, err = h.Make(32)
		wantErr(t, "make", err, nil)
		id, err := a.Ask(t.Context())
		wantErr(t, "ask", err, nil)
		_, err = server.Next(t.Context())
		wantErr(t, "next", errors.Join(err, server.Answer(t.Context()), a.Close()), nil)
		asked = append(asked, id)
	}
	a, err := NewAsker(h, commands, replies)
	wantErr(t, "asker", err, nil)
	for _, want := range asked {
		id, _, err := a.Reply(t.Context())
		wantErr(t, "reply", errors.Join(err, h.Free()), nil)
		if id != want {
			t.Errorf("reply to %#x, want %#x", id, want)
		}
	}
	if asked[0] == asked[1] {
		t.Errorf("both requests have the number %#x", asked[0])
	}
}

// TestAnswerHostile: a request that names no queue is an error.
func TestAnswerHostile(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	hs := m.hands(t, 2)
	h := mustHand(t, hs)
	s, err := NewAnswerer(h, m.queue(t, &Options{Hands: hs}))
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "answer nothing", s.Answer(t.Context()), ErrHoldsNone)
	off, err := h.Make(32)
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []uint64{0, 8, off, testSize, ^uint64(0)} {
		m.memory.Word(off + requestReply).Swap(where)
		wantErr(t, "answer", s.Answer(t.Context()), ErrCorrupt)
	}
	if h.Held() != off {
		t.Error("the request is gone")
	}
	for _, where := range []uint64{testSize - 8, testSize + 4096 - 8, testSize + 8192, ^uint64(0) - 7, off + 1} { // no room for a request
		h.record.Held.Swap(h.address(where))
		wantErr(t, "answer nowhere", s.Answer(t.Context()), ErrCorrupt)
	}
}

// TestAskHostile: nor is a request written to where there is no room for it, or to what a closed hand does not hold.
func TestAskHostile(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	hs := m.hands(t, 1)
	h := mustHand(t, hs)
	a, err := NewAsker(h, m.queue(t, &Options{Hands: hs}), m.queue(t, &Options{Hands: hs}))
	wantErr(t, "asker", err, nil)
	for _, where := range []uint64{8, testSize - 8, testSize + 4096 - 8, testSize + 8192, ^uint64(0) - 7, 8193} {
		h.record.Held.Swap(h.address(where))
		_, err := a.Ask(t.Context())
		wantErr(t, "ask", err, ErrCorrupt)
	}
	h.record.Held.Swap(0)
	wantErr(t, "close", h.Close(), nil)
	off, err := mustHand(t, hs).Make(32) // in the same record
	wantErr(t, "make", err, nil)
	_, err = a.Ask(t.Context())
	wantErr(t, "ask", err, ErrDetached)
	if n := m.memory.Word(off).Load(); n != 0 || h.Held() != 0 {
		t.Errorf("request %d in another hand, held %#x", n, h.Held())
	}
}

// TestMailboxAfterClose: an end that was given back may be another one's by now, and is not used.
func TestMailboxAfterClose(t *testing.T) {
	m := newGoRegion(t, testSize).join()
	box, off := newMailbox(t, m)
	client, err := box.Client()
	server, err2 := box.Server()
	wantErr(t, "attach", errors.Join(err, err2, client.Close(), server.Close()), nil)
	heirs := mailboxAt(t, m, off)
	_, err = heirs.Client()
	_, err2 = heirs.Server()
	wantErr(t, "attach again", errors.Join(err, err2), nil)
	wantErr(t, "call", client.Call(t.Context(), nil), ErrDetached)
	wantErr(t, "next", server.Next(t.Context(), nil), ErrDetached)
	wantErr(t, "reply", server.Reply(nil), ErrDetached)
	wantErr(t, "close", client.Close(), ErrDetached)
	wantErr(t, "close", server.Close(), ErrDetached)
	if turn := box.box.Turn.Load(); turn != 0 {
		t.Errorf("turn %d", turn)
	}
}

// TestMailboxIsNotBereft: who left in order after another one had died is no reason, and who died is for everybody
// who comes, until the next one does.
func TestMailboxIsNotBereft(t *testing.T) {
	r := newGoRegion(t, testSize)
	here, there, then := r.join(), r.join(), r.join()
	box, off := newMailbox(t, here)
	server, err := box.Server()
	_, err2 := mailboxAt(t, there, off).Client()
	wantErr(t, "attach", errors.Join(err, err2), nil)
	there.die()
	for range 2 {
		wantErr(t, "next", server.Next(soon(t), nil), ErrNoProducers)
	}
	client, err := box.Client()
	wantErr(t, "attach", err, nil)
	wantErr(t, "next with a client", server.Next(soon(t), nil), context.DeadlineExceeded)
	wantErr(t, "close", client.Close(), nil)
	wantErr(t, "next after one that has left", server.Next(soon(t), nil), context.DeadlineExceeded)
	_, err = mailboxAt(t, then, off).Client()
	wantErr(t, "attach", err, nil)
	then.die()
	wantErr(t, "next after a death", server.Next(soon(t), nil), ErrNoProducers)
	wantErr(t, "close", server.Close(), nil)
	server, err = box.Server()
	wantErr(t, "attach", err, nil)
	wantErr(t, "next of another server", server.Next(soon(t), nil), ErrNoProducers)
}

// soon is a context that ends when a waiter has looked for the other side.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
