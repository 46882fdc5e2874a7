package heap

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

// TestJoinNamesTheLimit: a member whose address limit is too small for the heap is named at once.
func TestJoinNamesTheLimit(t *testing.T) {
	o := newJoinOptions(t, 2)
	done := joinLater(patience(t), "a", o)
	s, j := meetAs(t, o, "a")
	m := j.shy()
	left := uint64(12345)
	m.Hello.Headroom = &left
	s.say(m)
	told := s.hear(failKind)
	r := <-done
	for _, text := range []string{told.Reason, r.err.Error()} {
		for _, part := range []string{"(script)", "address space limit (RLIMIT_AS) leaves 12345 bytes", " are needed"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q lacks %q", text, part)
			}
		}
	}
	if !errors.Is(r.err, ErrNoAgreement) || !errors.Is(r.err, probe.ErrAddressLimit) {
		t.Errorf("%v", r.err)
	}
	if strings.Contains(told.Reason, ErrNoAgreement.Error()) || strings.Contains(told.Reason, "members came") {
		t.Errorf("who is told %q knows some of it already", told.Reason)
	}
}

// TestJoinTakesWhatWasReserved: what a launcher reserved for a member is proposed first, and its limit does
// not matter then.
func TestJoinTakesWhatWasReserved(t *testing.T) {
	o := newJoinOptions(t, 2)
	done := joinLater(patience(t), "a", o)
	s, j := meetAs(t, o, "a")
	base := probe.Windows()[0].Start + 77*probe.Slot
	m := j.shy()
	left := uint64(0)
	m.Hello.Headroom, m.Hello.Known = &left, true // and no gap
	m.Hello.Reserved = []probe.Range{{Start: base, End: base + testSize}}
	s.say(m)
	p := s.hear(proposeKind)
	if p.Base != base {
		t.Errorf("proposed %#x, want %#x", p.Base, base)
	}
	s.say(&message{Kind: reserveKind, Round: p.Round})
	s.hear(commitKind)
	if h := wantJoined(t, done); h.Base() != base {
		t.Errorf("base %#x", h.Base())
	}
}

const asan = "AddressSanitizer"

func TestJoinHeedsSanitizers(t *testing.T) {
	if len(probe.SanitizerRanges(asan)) == 0 {
		shmtest.SkipAnywhere(t, "no sanitizer is known on this system")
	}
	t.Run("none left", func(t *testing.T) {
		o := newJoinOptions(t, 2)
		done := joinLater(patience(t), "a", o)
		s, j := meetAs(t, o, "a")
		m := j.shy()
		m.Hello.Sanitizer, m.Hello.Known = asan, true
		zone := probe.SanitizerRanges(asan)[0]
		m.Hello.Gaps = []probe.Range{zone} // all that it has is the sanitizer's
		s.say(m)
		if text := s.hear(failKind).Reason; !strings.Contains(text, "is left; pid ") || !strings.Contains(text, "runs with AddressSanitizer") {
			t.Errorf("%q", text)
		}
		if r := <-done; !errors.Is(r.err, ErrNoAgreement) {
			t.Errorf("%v", r.err)
		}
	})
	t.Run("base", func(t *testing.T) {
		o := newJoinOptions(t, 2)
		o.Base = 0x600_0000_0000 // in the shadow
		done := joinLater(patience(t), "a", o)
		s, j := meetAs(t, o, "a")
		m := j.shy()
		m.Hello.Sanitizer = asan
		s.say(m)
		if text := s.hear(failKind).Reason; !strings.Contains(text, "(script) runs with AddressSanitizer, which needs the addresses at 0x60000000000") {
			t.Errorf("%q", text)
		}
		<-done
	})
	t.Run("another base", func(t *testing.T) {
		h := &hello{Sanitizer: asan}
		for base := range probe.Candidates(testSize, &probe.Options{Avoid: h.avoid()}) {
			if h.sanitized(probe.Range{Start: base, End: base + testSize}) {
				t.Fatalf("%#x", base)
			}
		}
	})
}

func TestHelloOfThisProcess(t *testing.T) {
	j := &joining{self: thisMember(), wish: wish{Size: testSize}}
	h := j.hello()
	sanitizer, err := probe.Sanitizer()
	if err == nil && h.Sanitizer != sanitizer || !h.Known && runtime.GOOS == "linux" || h.short() {
		t.Errorf("%+v", h)
	}
}

// quiet are guests that read nothing, with small buffers in between.
func quiet(t *testing.T, c *coordinator, n int) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for range n {
		theirs, err := net.DialUnix("unix", nil, listener.Addr().(*net.UnixAddr))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { theirs.Close() })
		ours, err := listener.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		if err := ours.SetWriteBuffer(1); err != nil {
			t.Fatal(err)
		}
		g := &guest{conn: ours, hello: &hello{}}
		c.admit(g)
		c.running.Go(func() { c.read(g) })
	}
}

// TestStoppedGuests: guests that read nothing hold up neither what is said to them nor the end.
func TestStoppedGuests(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelFunc){
		"cancelled": func(cancel context.CancelFunc) { cancel() },
		"patient":   func(context.CancelFunc) {},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cut, cutNow := context.WithCancel(ctx)
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "l"), Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			c := newCoordinator(cut, &joining{}, listener)
			quiet(t, c, 20)
			begin := time.Now()
			for range 200 {
				for g := range c.guests {
					c.tell(g, &message{Kind: failKind, Code: "create", Reason: strings.Repeat("x", maxText)})
				}
			}
			if took := time.Since(begin); took > 3*writePatience { // one after the other: 20 times
				t.Errorf("20 guests that do not read held up what is said to them for %v", took)
			}
			end(cancel)
			begin = time.Now()
			c.close(cutNow)
			took := time.Since(begin)
			if most := map[string]time.Duration{"cancelled": writePatience, "patient": 3 * writePatience}[name]; took > most {
				t.Errorf("the end took %v, want less than %v", took, most)
			}
			t.Logf("note: the end took %v", took)
			cancel()
		})
	}
}
