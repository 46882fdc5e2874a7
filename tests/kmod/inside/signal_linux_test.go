package inside

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod"
	"github.com/shmheap/shmheap/queue"
)

// signalled is the command queue of a channel whose eventfd the kernel signals.
type signalled struct {
	queue    *queue.Queue
	attached *kmod.Attached
	consumer *queue.Consumer
	watch    *queue.Watch
}

// newSignalled attaches the queue and gives the kernel an eventfd for it. No sleep lasts longer than may be.
func newSignalled(t *testing.T, a *alloc.Allocator, i *kmod.Instance, channel int) *signalled {
	t.Helper()
	q := must[*queue.Queue](t)(queue.Open(a, newName(), &queue.Options{Kind: queue.MPSC, Capacity: 256}))
	s := &signalled{queue: q, attached: must[*kmod.Attached](t)(i.Attach(channel, kmod.Command, q, 0))}
	s.consumer = must[*queue.Consumer](t)(q.Consumer())
	s.watch = must[*queue.Watch](t)(s.consumer.Watch())
	if err := s.attached.Signal(s.watch.NotifyFile()); err != nil {
		t.Fatal(err)
	}
	s.limit(t, shmtest.Patience)
	return s
}

// limit is how long the following sleeps may last.
func (s *signalled) limit(t *testing.T, d time.Duration) {
	t.Helper()
	if err := s.watch.File().SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
}

// arm asks for a signal, and reports whether there is something already.
func (s *signalled) arm(t *testing.T) bool {
	t.Helper()
	return must[bool](t)(s.watch.Arm())
}

// sleep sleeps on the eventfd, and on nothing else.
func (s *signalled) sleep(t *testing.T) {
	t.Helper()
	if err := s.watch.Wait(); err != nil {
		t.Fatalf("not woken: %v", err)
	}
}

// silent fails the test if the eventfd has been signalled, or is in a moment.
func (s *signalled) silent(t *testing.T, what string) {
	t.Helper()
	s.limit(t, 30*time.Millisecond)
	if err := s.watch.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: signalled, %v", what, err)
	}
	s.limit(t, shmtest.Patience)
}

// pop requires an offset that the kernel has pushed.
func (s *signalled) pop(t *testing.T, want uint64) {
	t.Helper()
	if off, err := s.consumer.TryPop(); err != nil || off != want {
		t.Fatalf("%#x, %v, want %#x", off, err, want)
	}
}

// comes waits without the eventfd until an offset is there.
func (s *signalled) comes(t *testing.T, want uint64) {
	t.Helper()
	eventually(t, "the offset comes back", func() bool {
		off, err := s.consumer.TryPop()
		return err == nil && off == want
	})
}

// TestSignal: a kernel thread sends each offset back, and wakes by the eventfd who sleeps on it; each round needs
// a signal. Who has not asked, or has taken the eventfd away, is left alone.
func TestSignal(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	s := newSignalled(t, a, i, 0)
	replies := must[*kmod.Sender](t)(must[*kmod.Channel](t)(i.Channel(a, 0, nil)).Replies())
	defer closeAll(t, s.consumer, s.attached, replies)
	partner(t, i.Name())
	ctx, first := patient(t), h.Geometry().Sections.Data
	send := func(off uint64) {
		t.Helper()
		if err := replies.Send(ctx, off); err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(300) {
		if s.arm(t) {
			t.Fatalf("round %d: something is there before it was sent", n)
		}
		send(first + 8*n)
		s.sleep(t)
		s.pop(t, first+8*n)
	}
	send(first)
	s.comes(t, first)
	s.silent(t, "not asked for")

	s.arm(t)
	if err := s.attached.Signal(nil); err != nil {
		t.Fatal(err)
	}
	send(first)
	s.comes(t, first)
	s.silent(t, "taken away")
	if err := s.attached.Signal(s.watch.NotifyFile()); err != nil {
		t.Fatal(err)
	}
	s.arm(t)
	send(first)
	s.sleep(t)
	s.pop(t, first)

	s.arm(t) // the kernel signals what nobody has any more
	if err := s.watch.Close(); err != nil {
		t.Error(err)
	}
	send(first)
	s.comes(t, first)
}

// TestSignalEnds: when the last descriptor of a queue is closed, the kernel lets go of its eventfd too.
func TestSignalEnds(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	s := newSignalled(t, a, i, 0)
	replies := must[*kmod.Sender](t)(must[*kmod.Channel](t)(i.Channel(a, 0, nil)).Replies())
	closeAll(t, s.attached)
	again := must[*kmod.Attached](t)(i.Attach(0, kmod.Command, s.queue, 0))
	defer closeAll(t, s.watch, s.consumer, replies, again)
	partner(t, i.Name())
	s.arm(t)
	if err := replies.Send(patient(t), h.Geometry().Sections.Data); err != nil {
		t.Fatal(err)
	}
	s.comes(t, h.Geometry().Sections.Data)
	s.silent(t, "of a queue that was let go")
}

// TestSignalFromInterrupts: pushes in hard interrupts, which may not wake anybody themselves, signal it as well.
func TestSignalFromInterrupts(t *testing.T) {
	h, a, i := newHeap(t, device(t), nil)
	s := newSignalled(t, a, i, 3)
	defer closeAll(t, s.watch, s.consumer, s.attached)
	base, push := must[kmod.Word](t)(i.Control(wordBase)), must[kmod.Word](t)(i.Control(wordPush))
	first := h.Geometry().Sections.Data
	base.Store(first)
	push.Store(16)
	partner(t, i.Name())
	sleeps := 0
	for n := uint64(0); n < 2000; {
		if !s.arm(t) {
			sleeps++
			s.sleep(t)
		}
		for {
			off, err := s.consumer.TryPop()
			if errors.Is(err, queue.ErrEmpty) {
				break
			}
			if err != nil || off != first+64*(n%64) {
				t.Fatalf("element %d: %#x, %v", n, off, err)
			}
			n++
		}
	}
	push.Store(0)
	if sleeps == 0 {
		t.Error("never slept")
	}
	t.Logf("%d sleeps", sleeps)
}
