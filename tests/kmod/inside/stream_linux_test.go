package inside

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod"
)

// ways are how a program reads a stream: by read(2), or in a mapping.
var ways = []struct {
	name   string
	mapped bool
}{{"read", false}, {"mapped", true}}

// eachWay runs a test of a stream for each way.
func eachWay(t *testing.T, order int, test func(t *testing.T, i *kmod.Instance, open func(oldest bool) *kmod.Stream)) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			i := controlled(t, &kmod.InstanceOptions{StreamOrder: order})
			test(t, i, func(oldest bool) *kmod.Stream {
				s := must[*kmod.Stream](t)(i.Stream(&kmod.StreamOptions{Oldest: oldest, Mapped: way.mapped}))
				t.Cleanup(func() { closeAll(t, s) })
				return s
			})
		})
	}
}

// TestStream: all records come, in order, or are counted as lost.
func TestStream(t *testing.T) {
	eachWay(t, 6, func(t *testing.T, i *kmod.Instance, open func(bool) *kmod.Stream) {
		s, records := open(false), must[kmod.Word](t)(i.Control(wordRecords))
		records.Store(20)
		sum, next := uint64(0), map[int]uint64{}
		for r, err := range s.Records(patient(t)) {
			if err != nil {
				t.Fatal(err)
			}
			sum += max(r.Lost, 1)
			if r.Lost == 0 && (r.Type != 7 || len(r.Data) != 8 || r.Seq < next[r.CPU] || r.Time <= 0) {
				t.Fatalf("record %+v, number %d or later expected", r, next[r.CPU])
			}
			if r.Lost == 0 {
				next[r.CPU] = r.Seq + 1
			}
			if sum > 3000 {
				break
			}
		}
		records.Store(0)
		drain(t, s, func(r kmod.Record) { sum += max(r.Lost, 1) })
		written := must[kmod.Word](t)(i.Control(wordWritten))
		if got := written.Load(); got != sum {
			t.Errorf("%d records and losses, %d written", sum, got)
		}
	})
}

// drain reads what there is until nothing comes for a while.
func drain(t *testing.T, s *kmod.Stream, each func(kmod.Record)) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		r, err := s.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(r)
	}
}

// TestStreamLoses: a reader that is too slow is told how many it has lost.
func TestStreamLoses(t *testing.T) {
	eachWay(t, 4, func(t *testing.T, i *kmod.Instance, open func(bool) *kmod.Stream) {
		s := open(false)
		records, written := must[kmod.Word](t)(i.Control(wordRecords)), must[kmod.Word](t)(i.Control(wordWritten))
		records.Store(50)
		eventually(t, "more are written than fit", func() bool { return written.Load() > 2000 })
		records.Store(0)
		sum, last := uint64(0), uint64(0)
		drain(t, s, func(r kmod.Record) {
			sum += max(r.Lost, 1)
			if r.Lost == 0 {
				last = max(last, binary.NativeEndian.Uint64(r.Data))
			}
		})
		if s.Lost() == 0 || sum != written.Load() || last != written.Load()-1 {
			t.Errorf("%d lost, %d with those read, %d written, the last is %d", s.Lost(), sum, written.Load(), last)
		}
		n, late := 0, open(true)
		drain(t, late, func(r kmod.Record) {
			if r.Lost == 0 {
				n++
			}
		})
		if n == 0 || n > 16*os.Getpagesize() || late.Lost()+uint64(n) != written.Load() {
			t.Errorf("%d old records, %d lost, %d written", n, late.Lost(), written.Load())
		}
	})
}

// TestStreamWakes: who sleeps is woken by the next record, each time: nothing comes behind it that would do so too.
func TestStreamWakes(t *testing.T) {
	eachWay(t, 6, func(t *testing.T, i *kmod.Instance, open func(bool) *kmod.Stream) {
		s := open(false)
		records, written := must[kmod.Word](t)(i.Control(wordRecords)), must[kmod.Word](t)(i.Control(wordWritten))
		ctx, sum := patient(t), uint64(0)
		for range 40 {
			came := make(chan error, 1)
			go func() {
				r, err := s.Next(ctx)
				sum += max(r.Lost, 1)
				came <- err
			}()
			time.Sleep(3 * time.Millisecond) // for it to sleep, mostly
			before := written.Load()
			records.Store(1)
			eventually(t, "a record is written", func() bool { return written.Load() != before })
			records.Store(0)
			if err := <-came; err != nil {
				t.Fatal(err)
			}
			drainTo(t, s, &sum, i)
		}
	})
}

// drainTo reads until as many have come, or are lost, as have been written, once the writer stands still.
func drainTo(t *testing.T, s *kmod.Stream, sum *uint64, i *kmod.Instance) {
	t.Helper()
	ask, answer := must[kmod.Word](t)(i.Control(wordAsk)), must[kmod.Word](t)(i.Control(wordAnswer))
	for range 2 { // ticks that have begun since the writer was told to stop
		next := ask.Add(1)
		eventually(t, "a tick passes", func() bool { return answer.Load() == next })
	}
	for written := must[kmod.Word](t)(i.Control(wordWritten)).Load(); *sum < written; {
		r, err := s.Next(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		*sum += max(r.Lost, 1)
	}
}

// TestStreamReadOnly: nothing that a program can do makes the rings writable.
func TestStreamReadOnly(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 2})
	s := must[*kmod.Stream](t)(i.Stream(&kmod.StreamOptions{Mapped: true}))
	defer closeAll(t, s)
	conn := must[syscall.RawConn](t)(s.File().SyscallConn())
	page := uintptr(os.Getpagesize())
	err := conn.Control(func(fd uintptr) {
		for _, flags := range []int{syscall.MAP_SHARED, syscall.MAP_PRIVATE} {
			for length := page; length <= 16*page; length += page {
				if _, err := mmap(0, length, syscall.PROT_READ|syscall.PROT_WRITE, flags, int(fd), 0); !errors.Is(err, syscall.EACCES) {
					t.Errorf("map %d bytes with flags %#x for writing: %v", length, flags, err)
				}
			}
		}
		if _, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0); err == nil {
			t.Error("opened anew for writing")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b := mapStream(t, s)
	if err := syscall.Mprotect(b, syscall.PROT_READ|syscall.PROT_WRITE); !errors.Is(err, syscall.EACCES) {
		t.Errorf("mprotect: %v", err)
	}
	self := must[*os.File](t)(os.OpenFile("/proc/self/mem", os.O_RDWR, 0)) // goes past protections where it may
	defer self.Close()
	if _, err := self.WriteAt([]byte{1, 2, 3, 4}, addressOf(b)); err == nil {
		t.Error("written through /proc/self/mem")
	}
	if got := binary.NativeEndian.Uint64(b); got != 0x4d41525453484d53 {
		t.Errorf("begins with %#x", got)
	}
}

// TestStreamSeen: a program that maps tells the kernel where it is, and can poll then.
func TestStreamSeen(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 4})
	records, written := must[kmod.Word](t)(i.Control(wordRecords)), must[kmod.Word](t)(i.Control(wordWritten))
	s := must[*kmod.Stream](t)(i.Stream(&kmod.StreamOptions{Mapped: true}))
	defer closeAll(t, s)
	b := mapStream(t, s)
	cpus, rings, stride := binary.NativeEndian.Uint32(b[12:]), binary.NativeEndian.Uint64(b[24:]), binary.NativeEndian.Uint64(b[32:])
	places := make([]byte, 16*cpus)
	heads := func() {
		for cpu := range uint64(cpus) {
			copy(places[16*cpu:], b[rings+stride*cpu:][:16])
		}
	}
	conn := must[syscall.RawConn](t)(s.File().SyscallConn())
	err := conn.Control(func(fd uintptr) {
		seen := func(places []byte, change func(arg []byte)) syscall.Errno {
			arg := make([]byte, 24)
			put32(arg, 24)
			put64(arg[8:], uint64(addressOf(places)))
			put32(arg[16:], cpus)
			change(arg)
			defer runtime.KeepAlive(places)
			return ioctl(int(fd), 0xc018b730, arg)
		}
		plain := func([]byte) {}
		readable := func(want bool, when string) {
			t.Helper()
			if got := must[bool](t)(sys.Ready(fd, sys.Readable)); got != want {
				t.Errorf("%s: readable: %t", when, got)
			}
		}
		readable(false, "at the beginning")
		records.Store(1)
		eventually(t, "a record is written", func() bool { return written.Load() > 3 })
		records.Store(0)
		ask, answer := must[kmod.Word](t)(i.Control(wordAsk)), must[kmod.Word](t)(i.Control(wordAnswer))
		ask.Store(1)
		eventually(t, "the last tick passes", func() bool { return answer.Load() == 1 })
		readable(true, "with records")
		heads()
		if errno := seen(places, plain); errno != 0 {
			t.Error(errno)
		}
		readable(false, "with all of them seen")
		if errno := seen(make([]byte, 16*cpus), plain); errno != 0 {
			t.Error(errno)
		}
		readable(true, "gone back")
		for what, change := range map[string]func(arg []byte){
			"size": func(arg []byte) { put32(arg, 16) }, "flags": func(arg []byte) { put32(arg[4:], 1) },
			"rings": func(arg []byte) { put32(arg[16:], cpus+1) }, "pad": func(arg []byte) { put32(arg[20:], 1) },
		} {
			if errno := seen(places, change); errno != syscall.EINVAL {
				t.Errorf("%s: %v", what, errno)
			}
		}
		if errno := seen(places, func(arg []byte) { put64(arg[8:], 8) }); errno != syscall.EFAULT {
			t.Errorf("address: %v", errno)
		}
		for off := range 2 {
			heads()
			put64(places[8*off:], binary.NativeEndian.Uint64(places[8*off:])+1)
			if errno := seen(places, plain); errno != syscall.EINVAL {
				t.Errorf("ahead of the writer, word %d: %v", off, errno)
			}
		}
		if errno := ioctl(int(fd), 0xc018b731, places); errno != syscall.ENOTTY {
			t.Errorf("unknown call: %v", errno)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mapStream maps a stream once more, until the test ends.
func mapStream(t *testing.T, s *kmod.Stream) []byte {
	t.Helper()
	for pages := 1; pages < 1<<12; pages++ {
		b, unmap, err := sys.MapPages(s.File(), 0, pages*os.Getpagesize(), false)
		if err == nil {
			t.Cleanup(func() {
				if err := unmap(); err != nil {
					t.Error(err)
				}
			})
			return b
		}
		if !errors.Is(err, syscall.EINVAL) {
			t.Fatal(err)
		}
	}
	t.Fatal("no length is right")
	return nil
}

func TestNoStream(t *testing.T) {
	i := must[*kmod.Instance](t)(device(t).Create(newName(), nil))
	defer i.Close()
	for _, way := range ways {
		if _, err := i.Stream(&kmod.StreamOptions{Mapped: way.mapped}); !errors.Is(err, kmod.ErrNotConnected) {
			t.Errorf("%s: %v", way.name, err)
		}
	}
}

// TestStreamClosed: a reader that is closed says so, and touches nothing that is gone.
func TestStreamClosed(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 3})
	for _, way := range ways {
		s := must[*kmod.Stream](t)(i.Stream(&kmod.StreamOptions{Mapped: way.mapped}))
		closeAll(t, s)
		if _, err := s.Next(t.Context()); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: %v", way.name, err)
		}
	}
}
