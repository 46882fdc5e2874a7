package inside

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/shmheap/shmheap/kmod"
	"github.com/shmheap/shmheap/queue"
)

// TestOffsets sends offsets to the kernel and gets them back, in order, without and with waiting.
func TestOffsets(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	ch := must[*kmod.Channel](t)(i.Channel(a, 0, &kmod.ChannelOptions{Capacity: 16}))
	commands, replies := must[*kmod.Receiver](t)(ch.Commands()), must[*kmod.Sender](t)(ch.Replies())
	partner(t, i.Name())
	ctx := patient(t)
	first := h.Geometry().Sections.Data
	const count = 3000
	sent := make(chan error, 1)
	go func() {
		for n := range uint64(count) {
			if err := replies.Send(ctx, first+8*n); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for n := range uint64(count) {
		if off, err := commands.Receive(ctx); err != nil || off != first+8*n {
			t.Fatalf("element %d: %#x, %v", n, off, err)
		}
		if n%1000 == 999 { // let both sides fall asleep
			time.Sleep(20 * time.Millisecond)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if st := must[kmod.QueueStat](t)(commands.Stat()); st.Pushed != count || st.Bad != 0 || st.Lost != 0 {
		t.Errorf("commands: %+v", st)
	}
	if st := must[kmod.QueueStat](t)(replies.Stat()); st.Popped != count || st.Bad != 0 || st.Lost != 0 {
		t.Errorf("replies: %+v", st)
	}
	closeAll(t, commands, replies)
}

func closeAll(t *testing.T, closers ...interface{ Close() error }) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneAtATime: each side sleeps before each element.
func TestOneAtATime(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	ch := must[*kmod.Channel](t)(i.Channel(a, 0, nil))
	commands, replies := must[*kmod.Receiver](t)(ch.Commands()), must[*kmod.Sender](t)(ch.Replies())
	defer closeAll(t, commands, replies)
	partner(t, i.Name())
	ctx := patient(t)
	first := h.Geometry().Sections.Data
	for n := range uint64(300) {
		if err := replies.Send(ctx, first+8*n); err != nil {
			t.Fatal(err)
		}
		if off, err := commands.Receive(ctx); err != nil || off != first+8*n {
			t.Fatalf("element %d: %#x, %v", n, off, err)
		}
	}
}

func TestGiveUp(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	ch := must[*kmod.Channel](t)(i.Channel(a, 0, &kmod.ChannelOptions{Capacity: 4, Blocks: 2}))
	commands, replies := must[*kmod.Receiver](t)(ch.Commands()), must[*kmod.Sender](t)(ch.Replies())
	defer closeAll(t, commands, replies)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := commands.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("receive: %v", err)
		}
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := commands.Receive(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("receive: %v", err)
		}
	}
	first := h.Geometry().Sections.Data
	for range 4 {
		if err := replies.TrySend(first); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := replies.Send(ctx, first); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send: %v", err)
	}
	if err := replies.TrySend(first); !errors.Is(err, queue.ErrFull) {
		t.Errorf("send: %v", err)
	}
}

// TestInterrupts: offsets that the kernel pushes from hard interrupts come in their order.
func TestInterrupts(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	commands := must[*kmod.Receiver](t)(must[*kmod.Channel](t)(i.Channel(a, 3, nil)).Commands())
	defer closeAll(t, commands)
	base, push := must[kmod.Word](t)(i.Control(wordBase)), must[kmod.Word](t)(i.Control(wordPush))
	first := h.Geometry().Sections.Data
	base.Store(first)
	push.Store(16)
	partner(t, i.Name())
	ctx := patient(t)
	for n := range uint64(2000) {
		if off, err := commands.Receive(ctx); err != nil || off != first+64*(n%64) {
			t.Fatalf("element %d: %#x, %v", n, off, err)
		}
	}
	push.Store(0)
}

func TestMessages(t *testing.T) {
	_, a, i := newHeap(t, device(t), nil)
	ch := must[*kmod.Channel](t)(i.Channel(a, 1, &kmod.ChannelOptions{Capacity: 16, Blocks: 4, Block: 256}))
	m := must[*kmod.Messages](t)(ch.Messages())
	partner(t, i.Name())
	ctx := patient(t)
	payload := bytes.Repeat([]byte("payload "), 30)
	received := make(chan error, 1)
	const count = 1000
	go func() { received <- receiveAll(ctx, m.Receive, payload, count) }()
	for n := range count {
		if err := m.Send(ctx, kmod.Message{ID: uint64(n), Type: 5, Data: payload[:n%len(payload)]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-received; err != nil {
		t.Error(err)
	}
	if err := m.Send(ctx, kmod.Message{Data: make([]byte, 241)}); !errors.Is(err, kmod.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	before := must[int](t)(blocksIn(a))
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if after := must[int](t)(blocksIn(a)); after != before-8 {
		t.Errorf("%d blocks in use, before Close %d", after, before)
	}
}

var errUnlike = errors.New("not the message that was sent")

// receiveAll receives messages that come back in their order, each with its number raised by one.
func receiveAll(ctx context.Context, receive func(context.Context, []byte) (kmod.Message, error), payload []byte, count int) error {
	buf := make([]byte, 0, 1024)
	for n := range count {
		msg, err := receive(ctx, buf)
		if err != nil {
			return err
		}
		if msg.ID != uint64(n)+1 || msg.Type != 5 || !bytes.Equal(msg.Data, payload[:n%len(payload)]) {
			return errUnlike
		}
	}
	return nil
}

func TestCopies(t *testing.T) {
	d := device(t)
	i := must[*kmod.Instance](t)(d.Create(newName(), nil))
	defer i.Close()
	if err := i.Copies(2).Send(t.Context(), kmod.Message{}); !errors.Is(err, kmod.ErrNotConnected) {
		t.Errorf("no channel yet: %v", err)
	}
	must[*kmod.Copies](t)(i.MakeCopies(2, &kmod.CopiesOptions{Order: 4, Block: 256}))
	if _, err := i.MakeCopies(2, nil); !errors.Is(err, kmod.ErrBusy) {
		t.Errorf("twice: %v", err)
	}
	untrusted := must[*kmod.Instance](t)(d.OpenCopies(i.Name()))
	defer untrusted.Close()
	if _, err := untrusted.Control(0); err == nil {
		t.Error("maps through a descriptor for copies alone")
	}
	c := untrusted.Copies(2)
	partner(t, i.Name())
	ctx := patient(t)
	payload := bytes.Repeat([]byte("payload "), 30)
	received := make(chan error, 1)
	const count = 1000
	into := func(ctx context.Context, buf []byte) (kmod.Message, error) { return c.Receive(ctx, buf[:cap(buf)]) }
	go func() { received <- receiveAll(ctx, into, payload, count) }()
	for n := range count {
		if err := c.Send(ctx, kmod.Message{ID: uint64(n), Type: 5, Data: payload[:n%len(payload)]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-received; err != nil {
		t.Error(err)
	}
	if err := c.Send(ctx, kmod.Message{Data: make([]byte, 241)}); !errors.Is(err, kmod.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Receive(short, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing there: %v", err)
	}
}

// TestCopiesForged: the kernel's side pushes an offset that a program has named, in the middle of a message. What stands
// there is no header, whatever it says.
func TestCopiesForged(t *testing.T) {
	const (
		block  = 4096
		first  = 128 + 4*1280 + 2*block // the first block that SEND fills, behind queues of two slots
		length = 1 << 20
	)
	i := controlled(t, nil)
	base, push := must[kmod.Word](t)(i.Control(wordBase)), must[kmod.Word](t)(i.Control(wordPush))
	pushed := must[kmod.Word](t)(i.Control(wordPushed))
	c := must[*kmod.Copies](t)(i.MakeCopies(3, &kmod.CopiesOptions{Order: 1, Block: block}))
	header := binary.NativeEndian.AppendUint32(make([]byte, 12), length)
	if err := c.Send(patient(t), kmod.Message{Data: bytes.Repeat(header, (block-16)/len(header))}); err != nil {
		t.Fatal(err)
	}
	base.Store(first + 16)
	push.Store(1)
	eventually(t, "offsets are pushed", func() bool { return pushed.Load() != 0 })
	push.Store(0)
	for range pushed.Load() {
		if m, err := c.Receive(patient(t), make([]byte, length)); !errors.Is(err, kmod.ErrCorrupt) {
			t.Errorf("%d bytes, %v", len(m.Data), err)
		}
	}
}
