package samples

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod"
)

// A datagram, and what it is on the wire: with its headers, which the discipline counts.
const (
	payload = 1000
	onWire  = payload + 8 + 20 + 14
)

// The discipline's limits, large enough that a pause of the machine does not starve it: it lets no more through than
// rate * time + burst.
const (
	limit = 48 << 10
	burst = 32 << 10
)

// lane is a connection from here into another network namespace, whose sending end is limited by a control word of
// an instance of its own.
type lane struct {
	t        *testing.T
	routes   *routes
	device   *net.Interface
	instance *kmod.Instance
	word     kmod.Word
	sender   *net.UDPConn
	received atomic.Uint64 // bytes on the wire that have arrived
	sent     atomic.Uint64
}

const laneWord = 5

// inNamespace calls f on a thread in a new network namespace, which the thread does not outlive.
func inNamespace(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := os.NewSyscallError("unshare", syscall.Unshare(syscall.CLONE_NEWNET))
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

// makeLane makes lane n, 10.9.n.1 here to 10.9.n.2 there.
func makeLane(t *testing.T, device *kmod.Device, n byte) *lane {
	t.Helper()
	l := &lane{t: t}
	var err error
	if l.routes, err = openRoutes(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(l.routes.fd) })
	here, there := fmt.Sprintf("here%d", n), fmt.Sprintf("there%d", n)
	name := fmt.Sprintf("lane%d", n)
	if l.instance, err = device.Create(name, &kmod.InstanceOptions{StreamOrder: 10, StreamSlot: 64}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.instance.Close() })
	if l.word, err = l.instance.Control(laneWord); err != nil {
		t.Fatal(err)
	}
	receiver, err := l.connect(here, there, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { receiver.Close() })
	go l.receive(receiver)
	if err := l.routes.addQdisc(l.device.Index, "shmrate", shmrate(name, laneWord, limit, burst)); err != nil {
		t.Fatalf("add the discipline: %v", err)
	}
	t.Cleanup(func() {
		if err := l.routes.deleteQdisc(l.device.Index, "shmrate"); err != nil {
			t.Errorf("delete the discipline: %v", err)
		}
	})
	return l
}

// connect makes the devices and the sockets. The namespace lives as long as the receiver's socket.
func (l *lane) connect(here, there string, n byte) (receiver *net.UDPConn, err error) {
	own, other := [4]byte{10, 9, n, 1}, [4]byte{10, 9, n, 2}
	err = inNamespace(func() error {
		namespace, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer namespace.Close()
		if err := l.routes.veth(here, there, int(namespace.Fd())); err != nil {
			return fmt.Errorf("make devices: %w", err)
		}
		inside, err := openRoutes()
		if err != nil {
			return err
		}
		defer syscall.Close(inside.fd)
		device, err := net.InterfaceByName(there)
		if err != nil {
			return err
		}
		if err := inside.up(device.Index, other); err != nil {
			return err
		}
		receiver, err = net.ListenUDP("udp4", &net.UDPAddr{IP: other[:], Port: 9000})
		return err
	})
	if err != nil {
		return nil, err
	}
	if l.device, err = net.InterfaceByName(here); err != nil {
		return receiver, err
	}
	if err := l.routes.up(l.device.Index, own); err != nil {
		return receiver, err
	}
	l.sender, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: other[:], Port: 9000})
	return receiver, err
}

func (l *lane) receive(from *net.UDPConn) {
	buf := make([]byte, payload)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.received.Add(uint64(n) + onWire - payload)
	}
}

// offer sends so many bytes a second, on the wire, until ctx is done. A pause is made up for.
func (l *lane) offer(ctx context.Context, group *sync.WaitGroup, rate float64) {
	group.Go(func() {
		packet := make([]byte, payload)
		begin, sent := time.Now(), 0.0
		for tick := time.NewTicker(2 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			due := rate * time.Since(begin).Seconds()
			sent = max(sent, due-limit) // what is older would be dropped anyway
			for ; sent+onWire <= due; sent += onWire {
				if _, err := l.sender.Write(packet); err != nil && !errors.Is(err, syscall.ENOBUFS) {
					l.t.Errorf("send: %v", err)
					return
				}
				l.sent.Add(onWire)
			}
		}
	})
}

// settle lets go what was waiting and what was saved at another rate.
func (l *lane) settle(rate uint64) {
	at := uint64(limit+burst) * 1000
	if rate > 0 {
		at /= rate
	}
	time.Sleep(min(time.Duration(at)*time.Millisecond, 500*time.Millisecond))
}

// measure returns how many bytes a second arrive, and for how long it looked.
func (l *lane) measure(window time.Duration) (rate float64, bytes uint64, took time.Duration) {
	begin, before := time.Now(), l.received.Load()
	time.Sleep(window)
	bytes, took = l.received.Load()-before, time.Since(begin)
	return float64(bytes) / took.Seconds(), bytes, took
}

// wantRate fails the test unless what arrives follows the rate. More can never come than the bucket allows; less
// can, when the machine stands still, so that has several tries.
func (l *lane) wantRate(rate uint64) float64 {
	l.t.Helper()
	const tries, window = 6, time.Second
	best := 0.0
	for range tries {
		got, bytes, took := l.measure(window)
		// What waited for the receiver while the machine stood still comes on top, hence the half.
		if most := float64(rate)*took.Seconds()*1.5 + burst + limit; float64(bytes) > most {
			l.t.Errorf("%s: %d bytes in %v at %d bytes/s", l.instance.Name(), bytes, took, rate)
		}
		best = max(best, got)
		if best >= 0.9*float64(rate) && got <= 1.1*float64(rate) {
			return got
		}
	}
	l.t.Errorf("%s: %.0f bytes/s at best, the rate is %d", l.instance.Name(), best, rate)
	return best
}

func openDevice(t *testing.T) *kmod.Device {
	t.Helper()
	d, err := kmod.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestQdiscRates: two disciplines at once, each following the stores into its own word.
func TestQdiscRates(t *testing.T) {
	needGuest(t)
	device := openDevice(t)
	lanes := []*lane{makeLane(t, device, 1), makeLane(t, device, 2)}
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	for _, l := range lanes {
		l.offer(ctx, &group, 500_000)
	}
	var measured [2][]float64
	for _, rates := range [][2]uint64{{40_000, 160_000}, {160_000, 40_000}, {80_000, 20_000}, {20_000, 80_000}} {
		for i, l := range lanes {
			l.word.Store(rates[i])
		}
		lanes[0].settle(min(rates[0], rates[1]))
		for i, l := range lanes {
			measured[i] = append(measured[i], l.wantRate(rates[i]))
		}
	}
	t.Logf("note: bytes/s at 40000, 160000, 80000, 20000: %.0f", measured[0])
	t.Logf("note: bytes/s at 160000, 40000, 20000, 80000: %.0f", measured[1])
	if ratio := measured[0][1] / measured[0][0]; ratio < 3.2 || ratio > 4.8 {
		t.Errorf("four times the rate gives %.2f times the bytes", ratio)
	}
	stopAndGo(t, lanes[0], lanes[1])
}

// stopAndGo stores 0 for one lane, through which nothing goes then; the other one goes on.
func stopAndGo(t *testing.T, l, other *lane) {
	t.Helper()
	l.word.Store(0)
	other.word.Store(80_000)
	time.Sleep(300 * time.Millisecond)
	if _, bytes, took := l.measure(time.Second); bytes != 0 {
		t.Errorf("%d bytes in %v at rate 0", bytes, took)
	}
	other.wantRate(80_000)
	begin, before := time.Now(), l.received.Load()
	l.word.Store(160_000)
	for l.received.Load() == before && time.Since(begin) < 10*time.Second {
		time.Sleep(100 * time.Microsecond)
	}
	t.Logf("note: %v from the store to the first packet", time.Since(begin).Round(100*time.Microsecond))
	l.wantRate(160_000)
}

// TestQdiscUpdates: thousands of stores a second, each of which may be the one that counts.
func TestQdiscUpdates(t *testing.T) {
	needGuest(t)
	l := makeLane(t, openDevice(t), 3)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	l.offer(ctx, &group, 300_000)
	l.word.Store(80_000)
	l.settle(80_000)
	var stores atomic.Uint64
	begin := time.Now()
	group.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
			for range 16 { // a tick may take longer on a busy machine
				l.word.Store(79_000 + stores.Add(1)%2000)
			}
		}
	})
	l.wantRate(80_000)
	each := float64(stores.Load()) / time.Since(begin).Seconds()
	if each < 1000 {
		t.Errorf("%.0f stores a second", each)
	}
	stats, err := l.routes.qdiscStats(l.device.Index, "shmrate")
	if err != nil || len(stats) != 24 {
		t.Fatalf("stats %x: %v", stats, err)
	}
	changes := binary.NativeEndian.Uint64(stats[8:])
	if changes < 10 {
		t.Errorf("the discipline saw %d other rates", changes)
	}
	t.Logf("note: %.0f stores a second, %d of %d seen by the discipline", each, changes, stores.Load())
	costs(t, l)
}

// costs compares a store with what it replaces.
func costs(t *testing.T, l *lane) {
	t.Helper()
	store := each(100_000, func(n uint64) { l.word.Store(79_000 + n&1023) })
	call := each(10, func(n uint64) {
		if err := l.routes.changeQdisc(l.device.Index, "shmrate", attribute(nil, shmrateBurst, word32(burst+uint32(n)))); err != nil {
			t.Fatal(err)
		}
	})
	ratio := float64(call) / float64(max(store, 1))
	if ratio < 10 {
		t.Errorf("a change by netlink takes %.1f times as long as a store", ratio)
	}
	t.Logf("note: a store takes %v, a change by netlink %v: %.0f times as long", store, call, ratio)
}

// each returns what f takes, called so many times between two looks at the clock, which goes on every 10 ms only in some
// kernels.
func each(calls uint64, f func(n uint64)) time.Duration {
	begin := time.Now()
	for n := uint64(0); ; {
		for range calls {
			f(n)
			n++
		}
		if took := time.Since(begin); took >= 200*time.Millisecond {
			return took / time.Duration(n)
		}
	}
}

// Types of records, and their length.
const (
	recordChanged, recordDropped = 1, 2
	recordBytes                  = 32
)

// TestQdiscStream: rates that the discipline has seen, and packets that it drops, come out of the stream in order; how
// many records are missing is known.
func TestQdiscStream(t *testing.T) {
	needGuest(t)
	l := makeLane(t, openDevice(t), 4)
	stream, err := l.instance.Stream(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	l.offer(ctx, &group, 300_000)
	w := watcher{lane: l, rates: []uint64{50_000, 0, 70_000, 1 << 63, 30_000}, want: 5}
	w.next()
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for r, err := range stream.Records(patience) {
		if err != nil {
			t.Fatalf("after %v and %d drops: %v", w.seen, w.drops, err)
		}
		if w.take(r) {
			break
		}
	}
	if want := fmt.Sprint([]uint64{50_000, 0, 70_000, 1 << 40, 30_000}); fmt.Sprint(w.seen) != want && w.lost == 0 {
		t.Errorf("rates %v, want %v", w.seen, want)
	}
	t.Logf("note: %d rates and %d drops in the stream, %d records missing", len(w.seen), w.drops, w.lost)
}

// watcher stores one rate after the other, each when the discipline has told of the one before.
type watcher struct {
	lane  *lane
	rates []uint64 // to store
	want  int      // how many
	seen  []uint64
	drops uint64 // records of them
	lost  uint64 // records
}

// take takes a record, and reports whether all is seen that is to be seen.
func (w *watcher) take(r kmod.Record) bool {
	t := w.lane.t
	if w.lost += r.Lost; r.Lost > 0 {
		return false
	}
	if len(r.Data) != recordBytes || binary.NativeEndian.Uint32(r.Data) != uint32(w.lane.device.Index) || binary.NativeEndian.Uint32(r.Data[4:]) != 1<<16 {
		t.Fatalf("record %+v", r)
	}
	rate, before := binary.NativeEndian.Uint64(r.Data[8:]), binary.NativeEndian.Uint64(r.Data[16:])
	switch r.Type {
	case recordChanged:
		if len(w.seen) > 0 && before != w.seen[len(w.seen)-1] && w.lost == 0 {
			t.Errorf("from %d to %d, after %v", before, rate, w.seen)
		}
		w.seen = append(w.seen, rate)
	case recordDropped:
		w.drops++
		if before < w.drops || before > w.drops+w.lost {
			t.Errorf("drop %d is the %d. in the stream, %d records are missing", before, w.drops, w.lost)
		}
	default:
		t.Errorf("record %+v", r)
	}
	if r.Type == recordChanged {
		w.next()
	}
	return len(w.seen) == w.want && w.drops > 0
}

func (w *watcher) next() {
	if len(w.rates) > 0 {
		w.lane.word.Store(w.rates[0])
		w.rates = w.rates[1:]
	}
}

// TestQdiscRefuses: a discipline without an instance or word that there is, or with another one later, is refused;
// and so is removing modules while one is at work.
func TestQdiscRefuses(t *testing.T) {
	needGuest(t)
	l := makeLane(t, openDevice(t), 5)
	index := l.device.Index
	for what, c := range map[string]struct {
		options []byte
		want    syscall.Errno
	}{
		"another instance": {attribute(nil, shmrateInstance, text("other")), syscall.EOPNOTSUPP},
		"another word":     {attribute(nil, shmrateWord, word32(laneWord+1)), syscall.EOPNOTSUPP},
		"a limit of 0":     {attribute(nil, shmrateLimit, word32(0)), syscall.ERANGE},
		"a burst of 0":     {attribute(nil, shmrateBurst, word32(0)), syscall.ERANGE},
		"a huge burst":     {attribute(nil, shmrateBurst, word32(1<<31)), syscall.ERANGE},
		"half a number":    {attribute(nil, shmrateLimit, []byte{1, 2}), syscall.EINVAL},
		"the same":         {shmrate("lane5", laneWord, limit, burst), 0},
	} {
		wantErrno(t, "change: "+what, l.routes.changeQdisc(index, "shmrate", c.options), c.want)
	}
	for _, module := range []string{"sample_qdisc", "shmheap"} {
		if err := sys.RemoveModule(module); err == nil {
			t.Errorf("%s was removed in use", module)
		}
	}
	if err := l.routes.deleteQdisc(index, "shmrate"); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		options []byte
		want    error
	}{
		"no options":       {nil, syscall.EINVAL},
		"no word":          {attribute(nil, shmrateInstance, text("lane5")), syscall.EINVAL},
		"no instance":      {attribute(nil, shmrateWord, word32(1)), syscall.EINVAL},
		"unknown instance": {shmrate("nobody", laneWord, limit, burst), fs.ErrNotExist},
		"word 512":         {shmrate("lane5", kmod.ControlWords, limit, burst), syscall.ERANGE},
	} {
		if err := l.routes.addQdisc(index, "shmrate", c.options); !errors.Is(err, c.want) {
			t.Errorf("add: %s: %v, want %v", what, err, c.want)
		}
	}
	// For the clean-up.
	if err := l.routes.addQdisc(index, "shmrate", shmrate("lane5", laneWord, limit, burst)); err != nil {
		t.Error(err)
	}
}
