package inside

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/kmod"
)

// measured is what something costs.
type measured struct {
	what string
	each time.Duration
}

// perOne returns what one of n takes.
func perOne(n int, run func()) time.Duration {
	begin := time.Now()
	run()
	return time.Since(begin) / time.Duration(n)
}

// compare prints what others cost, as a multiple of the first.
func compare(t *testing.T, title string, all ...measured) {
	t.Helper()
	if len(all) == 0 || all[0].each == 0 {
		t.Logf("note: numbers: %s: too quick for the clock of this machine", title)
		return
	}
	var b strings.Builder
	for _, m := range all {
		fmt.Fprintf(&b, " %s %v = %.1fx;", m.what, m.each, float64(m.each)/float64(all[0].each))
	}
	t.Logf("note: numbers: %s:%s", title, strings.TrimSuffix(b.String(), ";"))
}

// TestNumbers measures the ways to and from the kernel beside each other. The machine is emulated: what counts is
// how they compare.
func TestNumbers(t *testing.T) {
	d := device(t)
	h, a, i := newHeap(t, d, &kmod.InstanceOptions{StreamOrder: 8})
	ch := must[*kmod.Channel](t)(i.Channel(a, 0, &kmod.ChannelOptions{Capacity: 1024}))
	commands, replies := must[*kmod.Receiver](t)(ch.Commands()), must[*kmod.Sender](t)(ch.Replies())
	defer closeAll(t, commands, replies)
	partner(t, i.Name())
	n := int(number(t, "KMOD_NUMBERS", 2000))
	bounce := perOne(2*n, func() { bounceAll(t, commands, replies, h.Geometry().Sections.Data, n) })
	compare(t, "a message of 32 bytes or an offset, one way",
		measured{"queue", bounce}, measured{"ioctl", perOne(n, func() { callAll(t, n) })},
		measured{"pipe", perOne(n, func() { pipeAll(t, n) })}, measured{"netlink", perOne(2*n, func() { netlinkAll(t, n) })})
	word := must[kmod.Word](t)(i.Control(wordAsk))
	compare(t, "a number for the kernel", measured{"control word", perOne(100*n, func() {
		for v := range uint64(100 * n) {
			word.Store(v)
		}
	})}, measured{"sysfs, open file", perOne(n, func() { sysfsAll(t, n, true) })}, measured{"sysfs", perOne(n, func() { sysfsAll(t, n, false) })})
	compare(t, "a record of 32 bytes of the kernel", kernelNumbers(t, i.Name())...)
}

// TestStreamNumbers measures what it costs a program to read a record, in place and by calls, when so many are there at once.
func TestStreamNumbers(t *testing.T) {
	i := controlled(t, &kmod.InstanceOptions{StreamOrder: 13})
	for _, batch := range []uint64{1, 16, 256, 4096} {
		each := map[bool]time.Duration{}
		for _, way := range ways {
			s := must[*kmod.Stream](t)(i.Stream(&kmod.StreamOptions{Mapped: way.mapped}))
			each[way.mapped] = perRecord(t, i, s, batch)
			closeAll(t, s)
		}
		compare(t, fmt.Sprintf("reading a record, %d at once", batch), measured{"mapped", each[true]}, measured{"read", each[false]})
	}
}

// perRecord has the kernel write about as many records as a batch has, and reads them, several times.
func perRecord(t *testing.T, i *kmod.Instance, s *kmod.Stream, batch uint64) time.Duration {
	const most = 64 // a tick
	records, written := must[kmod.Word](t)(i.Control(wordRecords)), must[kmod.Word](t)(i.Control(wordWritten))
	ask, answer := must[kmod.Word](t)(i.Control(wordAsk)), must[kmod.Word](t)(i.Control(wordAnswer))
	var took time.Duration
	sum, begin := uint64(0), written.Load()
	for n := range max(min(512/batch, 64), 4) {
		records.Store(min(batch, most))
		eventually(t, "a batch is written", func() bool { return written.Load() >= begin+sum+batch })
		records.Store(0)
		ask.Store(n + batch<<32)
		eventually(t, "the last tick passes", func() bool { return answer.Load() == n+batch<<32 })
		end, start := written.Load()-begin, time.Now()
		for ; sum < end; sum++ {
			r, err := s.Next(t.Context())
			if err != nil || r.Lost != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		took += time.Since(start)
	}
	return took / time.Duration(sum)
}

// bounceAll sends offsets to the kernel and receives them back, as many at once as fit.
func bounceAll(t *testing.T, commands *kmod.Receiver, replies *kmod.Sender, off uint64, n int) {
	ctx := patient(t)
	sent := make(chan error, 1)
	go func() {
		var err error
		for k := 0; k < n && err == nil; k++ {
			err = replies.Send(ctx, off)
		}
		sent <- err
	}()
	for range n {
		must[uint64](t)(commands.Receive(ctx))
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// callAll has the partner copy 32 bytes in and out.
func callAll(t *testing.T, n int) {
	fd := must[int](t)(syscall.Open(partnerPath, syscall.O_RDWR|syscall.O_CLOEXEC, 0))
	defer syscall.Close(fd)
	b := make([]byte, 32)
	for range n {
		if errno := ioctl(fd, 1, b); errno != 0 {
			t.Fatal(errno)
		}
	}
}

// pipeAll sends 32 bytes through a pipe.
func pipeAll(t *testing.T, n int) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	b := make([]byte, 32)
	for range n {
		must[int](t)(syscall.Write(fds[1], b))
		must[int](t)(syscall.Read(fds[0], b))
	}
}

// netlinkAll sends 32 bytes to the partner, which sends them back.
func netlinkAll(t *testing.T, n int) {
	const protocol, header = 31, 16
	fd := must[int](t)(syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol))
	defer syscall.Close(fd)
	kernel := &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}
	if err := syscall.Bind(fd, kernel); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, header+32)
	put32(b, uint32(len(b)))
	for range n {
		if err := syscall.Sendto(fd, b, 0, kernel); err != nil {
			t.Fatal(err)
		}
		if got := must[int](t)(syscall.Read(fd, b)); got != len(b) {
			t.Fatalf("%d bytes came back", got)
		}
	}
}

// sysfsAll changes a number of the partner by text.
func sysfsAll(t *testing.T, n int, keep bool) {
	const path = "/sys/module/partner/parameters/word"
	f := must[*os.File](t)(os.OpenFile(path, os.O_WRONLY, 0))
	defer f.Close()
	for v := range n {
		text := []byte(fmt.Sprintln(v))
		var err error
		if keep {
			_, err = f.WriteAt(text, 0)
		} else {
			err = os.WriteFile(path, text, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// kernelNumbers asks the partner what it pays. What its kernel does not have is left out.
func kernelNumbers(t *testing.T, name string) (all []measured) {
	f := must[*os.File](t)(os.OpenFile(partnerPath, os.O_RDWR, 0))
	defer f.Close()
	must[int](t)(f.WriteString(name))
	b := make([]byte, 256)
	var stream, trace, relay, control uint64
	text := string(b[:must[int](t)(f.Read(b))])
	if _, err := fmt.Sscanf(text, "stream %d trace_printk %d relay %d control %d", &stream, &trace, &relay, &control); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for _, m := range []struct {
		what        string
		picoseconds uint64
	}{{"stream", stream}, {"trace_printk", trace}, {"relay", relay}} {
		if m.picoseconds != 0 {
			all = append(all, measured{m.what, time.Duration(m.picoseconds/1000) * time.Nanosecond})
		}
	}
	t.Logf("note: numbers: the kernel loads a control word in %.1f ns", float64(control)/1000)
	return all
}
