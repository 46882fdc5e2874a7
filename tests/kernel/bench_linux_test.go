package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

// The numbers of doc/arena.md: go test -run='^$' -bench=. ./tests/kernel

func mustLoad(b *testing.B, kind bpf.Type, code []bpf.Instruction) *bpf.Program {
	b.Helper()
	p, err := bpf.Load(&bpf.Spec{Name: "bench", Type: kind, Code: code})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

// onCPU measures what f takes on the processor, and in the quickest of many short runs, besides what it takes: these stay
// the same on a machine that is busy with other things.
func onCPU(b *testing.B, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadTime(b)
	best(b, f)
	b.ReportMetric(float64(threadTime(b)-begin)/float64(b.N), "cpu-ns/op")
}

// best runs f as often as the benchmark wants and tells of its quickest run.
func best(b *testing.B, f func()) {
	const run = 64
	quickest, n, begin := time.Hour, 0, time.Now()
	for b.Loop() {
		f()
		if n++; n%run == 0 {
			now := time.Now()
			quickest, begin = min(quickest, now.Sub(begin)), now
		}
	}
	if n >= run {
		b.ReportMetric(float64(quickest.Nanoseconds())/run, "best-ns/op")
	}
}

func threadTime(b *testing.B) int64 {
	const thisThread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thisThread, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkRoundTrip is a question to the kernel and its answer, next to what that can be compared with.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("system call", func(b *testing.B) {
		onCPU(b, func() { syscall.Getppid() })
	})
	b.Run("cache line", benchCacheLine)
	b.Run("doorbell", func(b *testing.B) {
		l := newLab(b)
		r, _ := arena.Of(l.heap)
		p := mustLoad(b, bpf.Syscall, arena.Program(r.Begin(), arena.Return(0)))
		context := make([]byte, 8)
		onCPU(b, func() {
			if _, err := p.Run(context); err != nil {
				b.Fatal(err)
			}
		})
	})
	for _, batch := range []int{1, 16} {
		b.Run(map[int]string{1: "command", 16: "command of 16"}[batch], func(b *testing.B) { benchCommand(b, batch) })
	}
	b.Run("to another goroutine", benchSleeper)
}

// benchCommand is a command through the one queue, the doorbell, and the reply through the other.
func benchCommand(b *testing.B, batch int) {
	l := newLab(b)
	s := newService(b, l, 64)
	c, at := mustNew[arena.Command](b, l.alloc)
	c.Verb = arena.VerbEcho
	i := 0
	onCPU(b, func() {
		if err := s.out.TryPush(at); err != nil {
			b.Fatal(err)
		}
		if i++; i%batch != 0 {
			return
		}
		if _, _, err := s.Serve(uint64(batch)); err != nil {
			b.Fatal(err)
		}
		for range batch {
			if _, err := s.in.TryPop(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchCacheLine is a line that goes to another processor and back.
func benchCacheLine(b *testing.B) {
	if runtime.NumCPU() < 2 {
		shmtest.SkipAnywhere(b, "one processor")
	}
	var turn atomic.Uint64
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(done)
		for {
			for n := 0; turn.Load()&1 == 0; n++ {
				if n%4096 == 0 {
					select {
					case <-stop:
						return
					default:
					}
				}
			}
			turn.Add(1)
		}
	}()
	best(b, func() {
		turn.Add(1)
		for turn.Load()&1 == 1 {
		}
	})
	close(stop)
	<-done
}

// benchSleeper is the way from a program to another goroutine, which may have gone to sleep by then: ring, poller, futex.
func benchSleeper(b *testing.B) {
	l := newLab(b)
	s := newService(b, l, 16)
	_, at := mustNew[arena.Command](b, l.alloc)
	in, err := s.replies.Consumer()
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	in.SetSpin(0)
	popped := make(chan error)
	ctx := soon(b)
	asked := make(chan struct{})
	go func() {
		for range asked {
			_, err := in.Pop(ctx)
			popped <- err
		}
	}()
	best(b, func() {
		asked <- struct{}{}
		if err := s.out.TryPush(at); err != nil {
			b.Fatal(err)
		}
		if _, _, err := s.Serve(1); err != nil {
			b.Fatal(err)
		}
		if err := <-popped; err != nil {
			b.Fatal(err)
		}
	})
	close(asked)
}

// BenchmarkRecord is a record of 32 bytes from a program to a reader, in runs of 500: written, and read.
func BenchmarkRecord(b *testing.B) {
	const run = 500
	record := make([]uint64, 4)
	b.Run("stream", func(b *testing.B) {
		l := newLab(b)
		s, err := arena.NewStream(l.alloc, "stream", &queue.BroadcastOptions{Capacity: 1024, Words: 4}, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		r, _ := arena.Of(l.heap)
		p := mustLoad(b, bpf.Syscall, repeat(r.Begin(), s.Write("write", -32, 4)))
		reader := s.Ring().Reader()
		perRun(b, p, run, func() error {
			_, err := reader.TryRead(record)
			return err
		})
	})
	b.Run("ring buffer", func(b *testing.B) {
		ring, err := bpf.NewRing(64 << 10)
		if err != nil {
			b.Fatal(err)
		}
		defer ring.Close()
		const noWakeup = 1 // BPF_RB_NO_WAKEUP
		p := mustLoad(b, bpf.Syscall, repeat(nil, []bpf.Instruction{
			bpf.Map(bpf.R1, ring.Descriptor()), bpf.Move(bpf.R2, bpf.R10), bpf.ComputeBy(bpf.Add, bpf.R2, -32),
			bpf.Set32(bpf.R3, 32), bpf.Set32(bpf.R4, noWakeup), bpf.Call(bpf.HelperRingOutput),
		}))
		data := make([]byte, 32)
		perRun(b, p, run, func() error {
			_, err := ring.TryRead(data)
			return err
		})
	})
}

// repeat is a program that does something as often as its context says, with four words at R10 - 32.
func repeat(begin, body []bpf.Instruction) []bpf.Instruction {
	return arena.Program([]bpf.Instruction{bpf.LoadFrom(bpf.Bits64, bpf.R7, bpf.R1, 0)}, begin, []bpf.Instruction{
		bpf.SetTo(bpf.Bits64, bpf.R10, -32, 1), bpf.SetTo(bpf.Bits64, bpf.R10, -24, 2),
		bpf.SetTo(bpf.Bits64, bpf.R10, -16, 3), bpf.SetTo(bpf.Bits64, bpf.R10, -8, 4),
		bpf.Mark("again"),
		bpf.OrLeave("end"),
		bpf.JumpIfValue(bpf.Equal, bpf.R7, 0, "end"),
	}, body, []bpf.Instruction{bpf.ComputeBy(bpf.Sub, bpf.R7, 1), bpf.Jump("again"), bpf.Mark("end")}, arena.Return(0))
}

// perRun measures runs of the program, and the reading of what they wrote.
func perRun(b *testing.B, p *bpf.Program, run uint64, read func() error) {
	context := make([]byte, 8)
	binary.LittleEndian.PutUint64(context, run)
	begin := threadTime(b)
	onCPU(b, func() {
		if _, err := p.Run(context); err != nil {
			b.Fatal(err)
		}
		for range run {
			if err := read(); err != nil {
				b.Fatal(err)
			}
		}
	})
	spent := time.Duration(threadTime(b) - begin)
	b.ReportMetric(float64(b.N)*float64(run)/spent.Seconds(), "records/cpu-s")
}

// BenchmarkControlWord is what it takes to tell a program a new number.
func BenchmarkControlWord(b *testing.B) {
	b.Run("store", func(b *testing.B) {
		l := newLab(b)
		shape, _ := mustNew[arena.Shape](b, l.alloc)
		i := uint64(0)
		onCPU(b, func() {
			shape.Rate.StoreRelease(i)
			i++
		})
	})
	b.Run("map update", func(b *testing.B) {
		const array = 2 // BPF_MAP_TYPE_ARRAY
		f, err := sys.MapCreate(&sys.MapSpec{Type: array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Name: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		key, value := make([]byte, 4), make([]byte, 8)
		i := uint64(0)
		onCPU(b, func() {
			binary.LittleEndian.PutUint64(value, i)
			if err := sys.MapUpdate(f, key, value); err != nil {
				b.Fatal(err)
			}
			i++
		})
	})
}

// BenchmarkAlloc is the allocator on both kinds of pages: the same.
func BenchmarkAlloc(b *testing.B) {
	l := newLab(b)
	c, err := l.alloc.NewCache()
	if err != nil {
		b.Fatal(err)
	}
	onCPU(b, func() {
		p, err := c.Alloc(64)
		if err := errors.Join(err, c.Free(p)); err != nil {
			b.Fatal(err)
		}
	})
}

// soon is a context that ends when only a hang can be the reason.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	t.Cleanup(cancel)
	return ctx
}
