package samples

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod"
)

// Numbers of the calls of kmod/samples/echo.h. Their arguments are words here, two numbers of 32 bits in one.
const (
	echoStart  = 0xc028b800
	echoWait   = 0xc040b801
	echoStream = 0xc020b802
	echoWord   = 0xc058b803

	echoInline   = 1  // a flag of START
	echoIDShift  = 48 // of the producer in a message's number
	echoChannel  = 3
	echoPath     = "/dev/shmheap_echo"
	threads      = 3
	producers    = threads + 2 // one in softirq, one in hard interrupts
	echoMessages = 400         // of each
)

func pair(low, high uint32) uint64 { return uint64(low) | uint64(high)<<32 }

// echo is a run of the sample, and an instance for it.
type echo struct {
	file     *os.File
	device   *kmod.Device
	heap     *heap.Heap
	instance *kmod.Instance
	messages *kmod.Messages
}

// openEcho makes a heap in the module's memory, with a channel of messages, and opens the sample.
func openEcho(name, dir string) (e *echo, err error) {
	e = &echo{}
	if e.device, err = kmod.Open(); err != nil {
		return nil, err
	}
	kernel := e.device.Kernel(&kmod.InstanceOptions{StreamOrder: 10})
	if e.heap, err = heap.Create(name, &heap.Options{Size: 16 << 20, Dir: dir, Kernel: kernel}); err != nil {
		return nil, err
	}
	a, err := alloc.Open(e.heap)
	if err != nil {
		return nil, err
	}
	e.instance = kmod.Of(e.heap)
	ch, err := e.instance.Channel(a, echoChannel, &kmod.ChannelOptions{Capacity: 64, Blocks: 32, Block: 64})
	if err != nil {
		return nil, err
	}
	if e.messages, err = ch.Messages(); err != nil {
		return nil, err
	}
	e.file, err = os.OpenFile(echoPath, os.O_RDWR, 0)
	return e, err
}

// testEcho is openEcho for a test.
func testEcho(t *testing.T) *echo {
	t.Helper()
	e, err := openEcho("echo-"+path.Base(t.Name()), heapDir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.file.Close(), e.messages.Close(), e.heap.Close(), e.device.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// withInstance makes a call whose argument has the instance's descriptor in the word at.
func (e *echo) withInstance(request uintptr, words []uint64, at int, shift uint) error {
	f, err := e.instance.File()
	if err != nil {
		return err
	}
	defer f.Close()
	words[at] |= uint64(f.Fd()) << shift
	return rawCall(e.file, request, words)
}

// start has so many messages sent by each producer, of which threads, softirq and hardirq say how many there are.
func (e *echo) start(flags, threads, softirq, hardirq uint32, each uint64) error {
	return e.withInstance(echoStart, []uint64{pair(40, flags), pair(0, echoChannel), pair(threads, softirq), pair(hardirq, 0), each}, 1, 0)
}

// echoed is what the kernel counts.
type echoed struct{ sent, received, disordered, bad, retries, softirq, hardirq uint64 }

// wait waits until all messages have come back.
func (e *echo) wait(timeout time.Duration) (echoed, error) {
	words := make([]uint64, 8)
	words[0] = pair(64, uint32(timeout.Milliseconds()))
	err := rawCall(e.file, echoWait, words)
	return echoed{words[1], words[2], words[3], words[4], words[5], words[6], words[7]}, err
}

// answer sends the next count messages back, each of which must be the next one of its producer.
func (e *echo) answer(ctx context.Context, count int) error {
	var next [producers]uint64
	for range count {
		m, err := e.messages.Receive(ctx, nil)
		if err != nil {
			return err
		}
		producer, n := m.ID>>echoIDShift, m.ID&(1<<echoIDShift-1)
		if producer >= producers || uint64(m.Type) != producer || n != next[producer] || len(m.Data) != 8 || binary.NativeEndian.Uint64(m.Data) != ^m.ID {
			return fmt.Errorf("message %+v: %w: expected were %d", m, kmod.ErrCorrupt, next)
		}
		next[producer]++
		if err := e.messages.Send(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// TestEchoContexts: threads, a softirq and a hard interrupt of the kernel send at once, and nothing is lost, doubled or
// out of order, neither there nor back; whether a thread of the kernel takes the replies or the program's own kicks do.
func TestEchoContexts(t *testing.T) {
	needGuest(t)
	for name, flags := range map[string]uint32{"thread": 0, "inline": echoInline} {
		t.Run(name, func(t *testing.T) {
			e := testEcho(t)
			if err := e.start(flags, threads, 1, 1, echoMessages); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
			defer cancel()
			begin := time.Now()
			if err := e.answer(ctx, producers*echoMessages); err != nil {
				t.Fatal(err)
			}
			got, err := e.wait(shmtest.Patience)
			t.Logf("note: %s: %d messages there and back in %v, %d tries in vain", name, got.received, time.Since(begin).Round(time.Millisecond), got.retries)
			got.retries = 0
			all := uint64(producers * echoMessages)
			if want := (echoed{sent: all, received: all, softirq: echoMessages, hardirq: echoMessages}); err != nil || got != want {
				t.Errorf("%+v, want %+v: %v", got, want, err)
			}
		})
	}
}

// TestEchoCounts: what comes back in another order, or as something else, is counted as that.
func TestEchoCounts(t *testing.T) {
	needGuest(t)
	e := testEcho(t)
	if err := e.start(0, 1, 0, 0, 8); err != nil {
		t.Fatal(err)
	}
	var all []kmod.Message
	for range 8 {
		m, err := e.messages.Receive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	all[1], all[2] = all[2], all[1] // 2 and 1 are not the next ones, and neither is 3
	all[5].Data[0]++                // so 5 does not come, and 6 is not the next one
	all[7].Type++
	for _, m := range all {
		if err := e.messages.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	shmtest.Until(t, "what was sent has come back", func() bool {
		got, _ := e.wait(0)
		return got.received+got.bad == 8
	})
	got, err := e.wait(time.Millisecond)
	got.retries = 0
	if want := (echoed{sent: 8, received: 6, disordered: 4, bad: 2}); !errors.Is(err, syscall.ETIMEDOUT) || got != want {
		t.Errorf("%+v, want %+v: %v", got, want, err)
	}
}

// TestEchoStream: records that all processors write at once, in interrupts, come each, or are counted as lost.
func TestEchoStream(t *testing.T) {
	needGuest(t)
	const count, kind = 3000, 9
	e := testEcho(t)
	stream, err := e.instance.Stream(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	words := []uint64{pair(32, 0), count, 0, pair(1, kind)}
	if err := e.withInstance(echoStream, words, 0, 32); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	defer cancel()
	sum, last := map[int]uint64{}, map[int]uint64{}
	for len(last) < runtime.NumCPU() {
		r, err := stream.Next(ctx)
		if err != nil {
			t.Fatalf("with %v of %d records: %v", sum, count, err)
		}
		sum[r.CPU] += max(r.Lost, 1)
		if r.Lost > 0 {
			continue
		}
		if n := binary.NativeEndian.Uint64(r.Data); r.Type != kind || n != sum[r.CPU]-1 {
			t.Fatalf("record %+v after %d of its processor", r, sum[r.CPU]-1)
		}
		if sum[r.CPU] == count {
			last[r.CPU] = r.Seq
		}
	}
	t.Logf("note: %d records of each of %d processors in %d µs, %d of them lost", count, len(sum), words[2]/1000, stream.Lost())
}

// TestEchoWords: the kernel reads what programs store.
func TestEchoWords(t *testing.T) {
	needGuest(t)
	e := testEcho(t)
	group, err := e.instance.Group(4, 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	one, err := e.instance.Control(511)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		v := rand.Uint64()
		one.Store(v)
		words := make([]uint64, 11)
		words[0], words[1] = pair(88, 0), pair(511, 0)
		if err := e.withInstance(echoWord, words, 0, 32); err != nil || words[3] != v {
			t.Fatalf("%#x instead of %#x: %v", words[3], v, err)
		}
		if err := group.Store(v, v+1, v+2); err != nil {
			t.Fatal(err)
		}
		words = make([]uint64, 11)
		words[0], words[1], words[2] = pair(88, 0), pair(5, 4), pair(3, 0)
		if err := e.withInstance(echoWord, words, 0, 32); err != nil || words[3] != v || words[4] != v+1 || words[5] != v+2 {
			t.Fatalf("%#x instead of %#x and two more: %v", words[3:6], v, err)
		}
	}
}

// TestEchoRefuses: what the header forbids.
func TestEchoRefuses(t *testing.T) {
	needGuest(t)
	e := testEcho(t)
	_, err := e.wait(0)
	wantErrno(t, "wait before start", err, syscall.ENOTCONN)
	wantErrno(t, "no producers", e.start(0, 0, 0, 0, 1), syscall.EINVAL)
	wantErrno(t, "too many threads", e.start(0, 15, 0, 0, 1), syscall.EINVAL)
	wantErrno(t, "two softirqs", e.start(0, 1, 2, 0, 1), syscall.EINVAL)
	wantErrno(t, "no messages", e.start(0, 1, 0, 0, 0), syscall.EINVAL)
	wantErrno(t, "too many messages", e.start(0, 1, 0, 0, 1<<40), syscall.EINVAL)
	wantErrno(t, "another flag", e.start(2, 1, 0, 0, 1), syscall.EINVAL)
	wantErrno(t, "no instance", rawCall(e.file, echoStart, []uint64{pair(40, 0), pair(uint32(e.file.Fd()), 0), pair(1, 0), 0, 1}), syscall.EINVAL)
	wantErrno(t, "no descriptor", rawCall(e.file, echoStart, []uint64{pair(40, 0), pair(1<<31-1, 0), pair(1, 0), 0, 1}), syscall.EBADF)
	for request, size := range map[uintptr]uint32{echoStart: 40, echoWait: 64, echoStream: 32, echoWord: 88} {
		words := make([]uint64, 11)
		words[0] = pair(size+8, 0)
		wantErrno(t, fmt.Sprintf("another size for %#x", request), rawCall(e.file, request, words), syscall.EINVAL)
		wantErrno(t, fmt.Sprintf("a bad address for %#x", request), rawAddress(e.file, request, 8), syscall.EFAULT)
	}
	wantErrno(t, "another call", rawCall(e.file, 0xc028b805, make([]uint64, 5)), syscall.ENOTTY)
	wantErrno(t, "start", e.start(0, 1, 0, 0, 1), 0)
	wantErrno(t, "start again", e.start(0, 1, 0, 0, 1), syscall.EBUSY)
	if err := sys.RemoveModule("sample_echo"); err == nil {
		t.Error("sample_echo was removed in use")
	}
}

// runEcho is a process that sends messages back until it is killed: NAME DIR FLAGS.
func runEcho() error {
	e, err := openEcho(os.Args[1], os.Args[2])
	if err != nil {
		return err
	}
	flags, err := strconv.ParseUint(os.Args[3], 10, 32)
	if err != nil {
		return err
	}
	if err := e.start(uint32(flags), threads, 1, 1, 1<<39); err != nil {
		return err
	}
	fmt.Println("up")
	go shmtest.Listen()
	return e.answer(context.Background(), 1<<40)
}

// TestEchoKilled kills programs while the kernel sends to them in all contexts: the run ends, and nothing is left of it.
func TestEchoKilled(t *testing.T) {
	needGuest(t)
	d := openDevice(t)
	before, err := d.Info()
	if err != nil {
		t.Fatal(err)
	}
	for n := range kills(t, 8) {
		p := shmtest.Start(t, "echo", fmt.Sprintf("killed-%d", n), heapDir(t), strconv.Itoa(n%2*echoInline))
		p.Want("up")
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		p.Kill()
	}
	shmtest.Until(t, "end of all instances", func() bool {
		after, err := d.Info()
		return err == nil && after.Instances == before.Instances && after.Used == before.Used
	})
}
