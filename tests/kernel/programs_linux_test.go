package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

func init() {
	programs["reader"] = runReader
	programs["mortal"] = runMortal
	programs["events"] = runEvents
}

// streamProgram writes the four words of its context to a stream.
func streamProgram(t testing.TB, l *lab, s *arena.Stream) *bpf.Program {
	t.Helper()
	r, err := arena.Of(l.heap)
	if err != nil {
		t.Fatal(err)
	}
	var copies []bpf.Instruction
	for i := range int16(4) {
		copies = append(copies, bpf.LoadFrom(bpf.Bits64, bpf.R2, bpf.R1, 8*i), bpf.StoreTo(bpf.Bits64, bpf.R10, 8*i-64, bpf.R2))
	}
	code := arena.Program([]bpf.Instruction{bpf.Move(bpf.R6, bpf.R1)}, r.Begin(), []bpf.Instruction{bpf.Move(bpf.R1, bpf.R6)},
		copies, s.Write("write", -64, 4), arena.Return(0))
	p, err := bpf.Load(&bpf.Spec{Name: "stream", Type: bpf.Syscall, Code: code})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// runReader reads until a record says that it is the last, and says how many it read and lost.
func runReader() error {
	a, err := attach()
	if err != nil {
		return err
	}
	b, err := queue.OpenBroadcast(a, "stream", nil)
	if err != nil {
		return err
	}
	r := b.Reader()
	fmt.Println("reading")
	var read, lost uint64
	for record := make([]uint64, 4); ; {
		gone, err := r.Read(context.Background(), record)
		if err != nil {
			return err
		}
		read, lost = read+1, lost+gone
		if record[1] != ^record[0] || record[2] != record[0]*3 {
			return fmt.Errorf("record %x is mixed", record)
		}
		if record[3] == 1 {
			fmt.Printf("%d %d\n", read, lost)
			return nil
		}
	}
}

// TestStream: several processors write records, and for each reader those read and lost are those written, none mixed.
func TestStream(t *testing.T) {
	l := newLab(t)
	s, err := arena.NewStream(l.alloc, "stream", &queue.BroadcastOptions{Capacity: 256, Words: 4}, l.news)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := streamProgram(t, l, s)
	readers := []*shmtest.Process{l.start(t, "reader"), l.start(t, "reader")}
	for _, r := range readers {
		r.Want("reading")
	}
	const writers, each = 3, 20000
	write := func(n, last uint64) {
		record := make([]byte, 32)
		for i, v := range []uint64{n, ^n, n * 3, last} {
			binary.LittleEndian.PutUint64(record[8*i:], v)
		}
		if _, err := p.Run(record); err != nil {
			t.Error(err)
		}
	}
	var group sync.WaitGroup
	for w := range uint64(writers) {
		group.Go(func() {
			for i := range uint64(each) {
				write(w<<32|i, 0)
			}
		})
	}
	group.Wait()
	time.Sleep(10 * time.Millisecond) // the readers may be asleep by then: the last record wakes them
	write(0, 1)
	written := s.Ring().Written()
	if written+s.Missed() != writers*each+1 {
		t.Errorf("%d written, %d missed, want %d", written, s.Missed(), writers*each+1)
	}
	for _, r := range readers {
		var read, lost uint64
		if _, err := fmt.Sscan(r.Hear(), &read, &lost); err != nil || read+lost != written {
			t.Errorf("read %d, lost %d of %d, %v", read, lost, written, err)
		}
		t.Logf("note: read %d, lost %d, missed %d", read, lost, s.Missed())
	}
}

// runMortal enters its process and waits to be killed.
func runMortal() error {
	h, err := heap.Open(heapName, options(os.Args[1]))
	if err != nil {
		return err
	}
	p, err := bpf.Open(mortalPin(h))
	if err != nil {
		return err
	}
	if err := arena.Enter(p, h.Peer()); err != nil {
		return err
	}
	fmt.Println(uint64(h.Peer()))
	shmtest.Listen()
	return nil
}

// mortalPin is where a test pins the program by which processes enter themselves: beside the arena.
func mortalPin(h *heap.Heap) string {
	r, _ := arena.Of(h)
	return r.Path() + "-enter"
}

// TestDeathNotice: when a parent can wait for a peer that was killed, its death has been written down, and a watch has been
// told soon after.
func TestDeathNotice(t *testing.T) {
	l := newLab(t)
	d, err := arena.NewDeaths(l.alloc, l.news)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(d.Enter(), d.Program().Pin(mortalPin(l.heap))); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Noticed(l.heap.Peer()); ok {
		t.Error("a notice of a process that lives")
	}
	t.Cleanup(func() { unpin(t, mortalPin(l.heap)) })
	told := make(chan heap.Departure, 16)
	go func() { _ = l.heap.Watch(t.Context(), func(d heap.Departure) { told <- d }) }()
	var after []time.Duration
	for range kills(t, 10) {
		id, killed := killMortal(t, l)
		if _, ok := d.Noticed(id); !ok {
			t.Error("waited for, and no notice")
		}
		select {
		case gone := <-told:
			if gone.Peer != id || !gone.Died {
				t.Errorf("told of %+v, killed %v", gone, id)
			}
			after = append(after, time.Since(killed))
		case <-time.After(shmtest.Patience):
			t.Fatal("nobody told of the death")
		}
	}
	slices.Sort(after)
	t.Logf("note: from the end of the wait to the watch: median %v, at most %v", median(after), after[len(after)-1])
}

// killMortal kills a peer that has entered itself, and waits for it. It returns when that was over.
func killMortal(t *testing.T, l *lab) (heap.PeerID, time.Time) {
	t.Helper()
	p := l.start(t, "mortal")
	var id uint64
	if _, err := fmt.Sscan(p.Hear(), &id); err != nil {
		t.Fatal(err)
	}
	p.Kill() // waits
	return heap.PeerID(id), time.Now()
}

// runEvents walks the list of events and says how many there are, their addresses added up, and the newest's name.
func runEvents() error {
	a, err := attach()
	if err != nil {
		return err
	}
	log, err := alloc.LoadRoot[arena.Log](a, "log")
	if err != nil {
		return err
	}
	n, sum := 0, uint64(0)
	names := map[string]int{}
	for e := log.First; e != nil; e = e.Next {
		n, sum = n+1, sum+offsetOf(a, e)
		names[nameOf(e)]++
	}
	fmt.Println(n, sum, names["true"])
	return nil
}

func nameOf(e *arena.Event) string {
	name, _, _ := strings.Cut(string(e.Name[:]), "\x00")
	return name
}

// TestRecorder: a program at a tracepoint writes events into blocks of the heap, and two other processes read them where
// they are.
func TestRecorder(t *testing.T) {
	path, err := exec.LookPath("true")
	if err != nil {
		shmtest.Skip(t, err.Error(), "install coreutils")
	}
	l := newLab(t)
	log, at := mustNew[arena.Log](t, l.alloc)
	if err := alloc.StoreRoot(l.alloc, "log", log); err != nil {
		t.Fatal(err)
	}
	blanks := mustQueue(t, l.alloc, "blanks", &queue.Options{Capacity: 512})
	fillUp(t, l.alloc, blanks, 400)
	r, err := arena.NewRecorder(l.heap, "sched_process_exec", blanks, at)
	if err != nil {
		t.Fatal(err)
	}
	const runs = 20
	for range runs {
		if err := exec.Command(path).Run(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	one, other := l.start(t, "events").Hear(), l.start(t, "events").Hear()
	var n, sum uint64
	var trues int
	if _, err := fmt.Sscan(one, &n, &sum, &trues); err != nil || one != other {
		t.Errorf("one process sees %q, another %q: %v", one, other, err)
	}
	// Other programs of this machine begin meanwhile.
	if trues < runs || n != log.Recorded || log.First == nil {
		t.Errorf("%d events, %d recorded, %d missed, of true %d, want %d", n, log.Recorded, log.Missed, trues, runs)
	}
}

func fillUp(t testing.TB, a *alloc.Allocator, blanks *queue.Queue, n int) {
	t.Helper()
	out, err := blanks.Producer()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for range n {
		_, off := mustNew[arena.Event](t, a)
		if err := out.TryPush(off); err != nil {
			t.Fatal(err)
		}
	}
}

// TestShaperVerdict: what an interface's program says of a packet follows the words of the heap.
func TestShaperVerdict(t *testing.T) {
	l := newLab(t)
	shape, at := mustNew[arena.Shape](t, l.alloc)
	s, err := arena.NewInterfaceShaper(l.heap, idleInterface(t), at)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	packet := make([]byte, 1000)
	passes := func() bool {
		t.Helper()
		ok, err := s.Test(packet)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if passes() {
		t.Error("a packet passed at rate 0")
	}
	shape.Rate.StoreRelease(arena.NoLimit)
	if !passes() {
		t.Error("a packet was dropped without a limit")
	}
	shape.Burst.StoreRelease(5500)
	shape.Rate.StoreRelease(1) // from now on
	got := 0
	shape.Tokens.StoreRelease(5500)
	for range 20 {
		if passes() {
			got++
		}
	}
	if got != 5 || shape.Passed.Load() != 6 || shape.Dropped.Load() != 16 {
		t.Errorf("%d passed; %d and %d counted", got, shape.Passed.Load(), shape.Dropped.Load())
	}
}

// TestPopPush: with queues at their ends the blocks say so.
func TestPopPush(t *testing.T) {
	l := newLab(t)
	s := newService(t, l, 4)
	_, at := mustNew[arena.Command](t, l.alloc)
	if served, _, err := s.Serve(10); served != 0 || err != nil {
		t.Errorf("%d served of an empty queue, %v", served, err)
	}
	for round := range 5 {
		for range 4 {
			if err := s.out.TryPush(at); err != nil {
				t.Fatal(round, err)
			}
		}
		if err := s.out.TryPush(at); !errors.Is(err, queue.ErrFull) {
			t.Errorf("push to a full queue: %v", err)
		}
		served, lost, err := s.Serve(10)
		if want := uint64(0); err != nil || served != 4 || (round > 0) != (lost > want) {
			t.Errorf("round %d: served %d, lost %d, %v", round, served, lost, err)
		}
	}
	for range 4 {
		if _, err := s.in.TryPop(); err != nil {
			t.Error(err)
		}
	}
	s.replies.Close()
	if err := s.out.TryPush(at); err != nil {
		t.Fatal(err)
	}
	if served, lost, err := s.Serve(1); served != 1 || lost != 1 || err != nil {
		t.Errorf("into a closed queue: served %d, lost %d, %v", served, lost, err)
	}
}

// TestManyLaps: positions wrap, past all 4096 laps.
func TestManyLaps(t *testing.T) {
	l := newLab(t)
	s := newService(t, l, 2)
	c, at := mustNew[arena.Command](t, l.alloc)
	c.Verb = arena.VerbEcho
	for i := range uint64(2*4096 + 100) {
		c.Argument = i
		if s.call(t, at); c.Result != i+1 {
			t.Fatalf("%d: %d", i, c.Result)
		}
	}
}

func unpin(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}

// idleInterface is a network interface whose packets nobody minds, in a name space of its own that this thread enters: the
// program is attached there and never sees a packet but those of the test.
func idleInterface(t testing.TB) int {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		shmtest.SkipAnywhere(t, fmt.Sprintf("no network of its own: %v", err))
	}
	const loopback = 1
	return loopback
}

// TestTellUser: a number that a program tells reaches the function of whoever passes the news on.
func TestTellUser(t *testing.T) {
	needArena(t)
	h, err := heap.Create(heapName, options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	news, err := arena.NewNews(h)
	if err != nil {
		t.Fatal(err)
	}
	p, err := bpf.Load(&bpf.Spec{Name: "shmheap_tell", Type: bpf.Syscall, Code: arena.Program(
		[]bpf.Instruction{bpf.Set64(bpf.R1, 0x1234_5678_9abc)}, news.TellUser(), arena.Return(0),
	)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Run(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	defer cancel()
	var told []uint64
	err = news.Run(ctx, func(number uint64) {
		if told = append(told, number); len(told) == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(told, []uint64{0x1234_5678_9abc, 0x1234_5678_9abc}) {
		t.Errorf("told %#x, %v", told, err)
	}
	if err := errors.Join(p.Close(), news.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}
