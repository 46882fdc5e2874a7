package heap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

func newJoinOptions(t testing.TB, members int) *JoinOptions {
	o := newOptions(t)
	return &JoinOptions{Members: members, Size: o.Size, Dir: o.Dir, MaxPeers: o.MaxPeers, MaxRoots: o.MaxRoots, MaxCaches: o.MaxCaches}
}

func (o *JoinOptions) forOpen() *Options { return &Options{Dir: o.Dir} }

// result is what a Join in another goroutine came to.
type result struct {
	heap *Heap
	err  error
}

func joinLater(ctx context.Context, name string, o *JoinOptions) <-chan result {
	done := make(chan result, 1)
	go func() {
		h, err := Join(ctx, name, o)
		done <- result{h, err}
	}()
	return done
}

func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func wantJoined(t *testing.T, done <-chan result) *Heap {
	t.Helper()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	closeAtEnd(t, r.heap)
	return r.heap
}

// script is the other end of a rendezvous, which says what a test wants.
type script struct {
	t    *testing.T
	conn *net.UnixConn
}

func (s script) say(m *message) {
	s.t.Helper()
	if err := writeMessage(s.conn, m); err != nil {
		s.t.Fatal(err)
	}
}

// hear returns the next message that is no roster.
func (s script) hear(want kind) *message {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(shmtest.Patience))
	for {
		m, err := readMessage(s.conn)
		if err != nil {
			s.t.Fatalf("waiting for %s: %v", want, err)
		}
		if m.Kind == rosterKind && want != rosterKind {
			continue
		}
		if m.Kind != want {
			s.t.Fatalf("heard %+v, want %s", m, want)
		}
		return m
	}
}

// meetAs connects to the coordinator of a heap as a member that hides its gaps.
func meetAs(t *testing.T, o *JoinOptions, name string) (script, *joining) {
	t.Helper()
	j := &joining{name: name, self: Member{1, "script"}}
	j.at = location{dir: o.Dir, file: name + suffix, private: true}
	var m *meeting
	var conn *net.UnixConn
	shmtest.Until(t, "somebody listens", func() (ok bool) {
		dir, err := j.at.openDir(false)
		if err != nil {
			return false
		}
		defer dir.Close()
		m = &meeting{dir: dir, sock: "." + j.at.file + socketSuffix}
		conn, err = m.dial(t.Context())
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	if err := (&joining{}).wishLike(o, &j.wish); err != nil {
		t.Fatal(err)
	}
	return script{t, conn}, j
}

// wishLike says what a Join with o wants.
func (*joining) wishLike(o *JoinOptions, w *wish) error {
	p := &joining{at: location{dir: "/", file: "none"}}
	opts := (&Options{Size: o.Size, MaxPeers: o.MaxPeers, MaxRoots: o.MaxRoots, MaxCaches: o.MaxCaches, Base: o.Base}).orDefault()
	dir, err := os.Open("/")
	if err != nil {
		return err
	}
	p.dir = dir
	err = p.prepare(o.Members, &opts)
	*w = p.wish
	p.close()
	return err
}

func (j *joining) shy() *message {
	return &message{Kind: helloKind, Hello: &hello{Member: j.self, Wish: j.wish, Bits: 47}}
}

// TestJoinAlone: one member agrees with itself, and nothing of the rendezvous stays.
func TestJoinAlone(t *testing.T) {
	o := newJoinOptions(t, 1)
	h := wantJoined(t, joinLater(patience(t), "a", o))
	if h.Size() != testSize || h.Name() != "a" {
		t.Errorf("heap %q of %#x bytes", h.Name(), h.Size())
	}
	wantFiles(t, o.Dir, "a.heap")
}

// TestWithoutArguments: a process whose program got none, not even its name, attaches like others.
func TestWithoutArguments(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = nil
	o := newOptions(t)
	for _, members := range []int{1, 0} {
		h, err := Join(t.Context(), "a", &JoinOptions{Members: members, Dir: o.Dir, Size: o.Size})
		if err != nil {
			t.Fatal(err)
		}
		if peers, err := h.Peers(); err != nil || len(peers) != 1 || peers[0].Program != "unknown" {
			t.Errorf("peers %v: %v", peers, err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestJoinNobodyToWaitFor: with Members 0 the first makes the heap and the second opens it; also at a path.
func TestJoinNobodyToWaitFor(t *testing.T) {
	o := newJoinOptions(t, 0)
	for _, name := range []string{"a", filepath.Join(t.TempDir(), "b.heap")} {
		first, err := Join(patience(t), name, o)
		if err != nil {
			t.Fatal(err)
		}
		base := first.Base()
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second, err := Join(patience(t), name, o)
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, second)
		if second.Base() != base {
			t.Errorf("%s: base %#x, then %#x", name, base, second.Base())
		}
	}
}

// TestJoinMovesOn: a proposal that is refused is taken back, and what was in the way is avoided.
func TestJoinMovesOn(t *testing.T) {
	o := newJoinOptions(t, 2)
	done := joinLater(patience(t), "a", o)
	s, j := meetAs(t, o, "a")
	s.say(j.shy())
	if r := s.hear(rosterKind); r.Count != 2 || len(r.Roster) != 2 {
		t.Errorf("roster %+v", r)
	}
	first := s.hear(proposeKind)
	blocked := probe.Range{Start: first.Base, End: first.Base + 100*probe.Slot}
	s.say(&message{Kind: refuseKind, Round: first.Round, Refused: []probe.Range{blocked}, Reason: "a test is in the way"})
	if a := s.hear(abortKind); a.Round != first.Round {
		t.Errorf("abort of round %d, want %d", a.Round, first.Round)
	}
	second := s.hear(proposeKind)
	if blocked.Overlaps(probe.Range{Start: second.Base, End: second.Base + testSize}) || second.Round <= first.Round {
		t.Errorf("proposal %+v after %+v was refused", second, first)
	}
	s.say(&message{Kind: reserveKind, Round: second.Round})
	s.hear(commitKind)
	if h := wantJoined(t, done); h.Base() != second.Base {
		t.Errorf("base %#x, want %#x", h.Base(), second.Base)
	}
}

// TestJoinGivesUp: after 16 refusals everyone is told, and the error says who refused.
func TestJoinGivesUp(t *testing.T) {
	o := newJoinOptions(t, 2)
	done := joinLater(patience(t), "a", o)
	s, j := meetAs(t, o, "a")
	s.say(j.shy())
	bases := make(map[uint64]bool)
	for range maxProposals {
		p := s.hear(proposeKind)
		bases[p.Base] = true
		s.say(&message{Kind: refuseKind, Round: p.Round, Reason: "never", Refused: []probe.Range{{Start: p.Base, End: p.Base + 1}}})
		s.hear(abortKind)
	}
	if f := s.hear(failKind); f.Code != "agreement" || len(bases) != maxProposals {
		t.Errorf("%d different bases, then %+v", len(bases), f)
	}
	r := <-done
	told, ok := errors.AsType[*JoinError](r.err)
	if !errors.Is(r.err, ErrNoAgreement) || !ok || len(told.Refused) != maxProposals || !strings.Contains(r.err.Error(), "never") {
		t.Errorf("error %v", r.err)
	}
	wantFiles(t, o.Dir)
}

// TestJoinWithBaseTaken: a base that was asked for is proposed once, also when it is the coordinator who cannot have it.
func TestJoinWithBaseTaken(t *testing.T) {
	taken, err := probe.Find(testSize, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Release()
	o := newJoinOptions(t, 1)
	o.Base = taken.Range().Start
	_, err = Join(patience(t), "a", o)
	told, ok := errors.AsType[*JoinError](err)
	if !errors.Is(err, ErrNoAgreement) || !ok || len(told.Refused) != 1 {
		t.Errorf("error %v", err)
	}
	wantFiles(t, o.Dir)
}

// TestJoinLosesMembers: who dies after a proposal takes it back; who comes then is asked anew.
func TestJoinLosesMembers(t *testing.T) {
	o := newJoinOptions(t, 2)
	done := joinLater(patience(t), "a", o)
	for range 3 {
		s, j := meetAs(t, o, "a")
		s.say(j.shy())
		s.hear(proposeKind)
		s.conn.Close()
	}
	s, j := meetAs(t, o, "a")
	s.say(j.shy())
	s.say(&message{Kind: reserveKind, Round: s.hear(proposeKind).Round})
	s.hear(commitKind)
	wantJoined(t, done)
}

// TestJoinIgnoresStrangers: nonsense at the socket disturbs nobody.
func TestJoinIgnoresStrangers(t *testing.T) {
	o := newJoinOptions(t, 2)
	done := joinLater(patience(t), "a", o)
	for _, bad := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff", "\x02\x00\x00\x00{}", "\x01\x00\x00\x00x"} {
		s, _ := meetAs(t, o, "a")
		_, _ = s.conn.Write([]byte(bad))
		s.conn.Close()
	}
	wrong, _ := meetAs(t, o, "a")
	wrong.say(&message{Kind: reserveKind, Round: 1}) // before HELLO
	other, j := meetAs(t, o, "a")
	j.wish.Size *= 2
	other.say(j.shy())
	if f := other.hear(failKind); f.Code != "disagree" || f.Reason == "" {
		t.Errorf("heard %+v", f)
	}
	s, j := meetAs(t, o, "a")
	s.say(j.shy())
	p := s.hear(proposeKind)
	s.say(&message{Kind: refuseKind, Round: p.Round + 7, Reason: "of no round", Refused: []probe.Range{{Start: 1, End: 2}}})
	s.say(&message{Kind: reserveKind, Round: p.Round})
	s.hear(commitKind)
	wantJoined(t, done)
}

// TestJoinSaysWhoDisagrees: both sides learn who wants what, and nothing of what they want alike.
func TestJoinSaysWhoDisagrees(t *testing.T) {
	o := newJoinOptions(t, 2)
	ctx, cancel := context.WithCancel(patience(t))
	done := joinLater(ctx, "a", o)
	for range MaxMembers + 1 {
		s, j := meetAs(t, o, "a")
		j.wish.Size *= 2
		s.say(j.shy())
		want := fmt.Sprintf("pid %d (script) wants size %d, not %d as pid %[1]d (", os.Getpid(), 2*o.Size, o.Size)
		if f := s.hear(failKind); f.Code != "disagree" || !strings.HasPrefix(f.Reason, want) {
			t.Fatalf("heard %+v, want %q", f, want)
		}
		s.conn.Close()
	}
	cancel()
	r := <-done
	told, ok := errors.AsType[*JoinError](r.err)
	if !ok || len(told.Disagreed) != MaxMembers || !strings.Contains(r.err.Error(), "256 more wanted another heap, the last: pid") || !errors.Is(r.err, context.Canceled) {
		t.Errorf("the coordinator says %v", r.err)
	}
	all := wish{"here", 1, 2, 3, 4, true, 5, 6, 7}
	if got := all.against(wish{}); strings.Count(got, "; ") != 8 {
		t.Errorf("nine differences are %q", got)
	}
}

// TestJoinFollows: a member refuses what it cannot have, says so to the next coordinator, and releases on
// ABORT.
func TestJoinFollows(t *testing.T) {
	o := newJoinOptions(t, 2)
	at := location{dir: o.Dir, file: "a" + suffix, private: true}
	dir, err := at.openDir(true)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	taken, err := probe.Find(testSize, &probe.Options{Key: "in the way"})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Release()
	ctx, cancel := context.WithCancel(patience(t))
	defer cancel()
	m, err := openMeeting(dir, at.file)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	if leads, err := m.lead(); !leads || err != nil {
		t.Fatal(leads, err)
	}
	var done <-chan result
	for life := range 2 { // of a coordinator; the lock is kept, lest the member leads in between
		listener, err := m.listen()
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			done = joinLater(ctx, "a", o)
		}
		conn, err := listener.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		s := script{t, conn}
		told := s.hear(helloKind).Hello
		if knows := slices.ContainsFunc(told.Refused, taken.Range().Overlaps); knows != (life == 1) {
			t.Errorf("life %d: it remembers %v", life, told.Refused)
		}
		s.say(&message{Kind: proposeKind, Round: 1, Base: taken.Range().Start})
		if r := s.hear(refuseKind); !slices.ContainsFunc(r.Refused, taken.Range().Overlaps) || !strings.Contains(r.Reason, "taken by") {
			t.Errorf("refusal %+v", r)
		}
		s.say(&message{Kind: abortKind, Round: 1})
		if life == 1 {
			cancel() // before it can lead
		}
		conn.Close()
		listener.Close()
	}
	if r := <-done; !errors.Is(r.err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", r.err)
	}
}

// listenAs is the coordinator of the heap "a", as far as its lock and its socket go.
func listenAs(t *testing.T, o *JoinOptions) *net.UnixListener {
	t.Helper()
	at := location{dir: o.Dir, file: "a" + suffix, private: true}
	dir, err := at.openDir(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	m, err := openMeeting(dir, at.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.close() })
	if leads, err := m.lead(); err != nil || !leads {
		t.Fatal(leads, err)
	}
	listener, err := m.listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// TestJoinNamesTheSilent: who waits for a coordinator that is stopped can tell which process that is.
func TestJoinNamesTheSilent(t *testing.T) {
	o := newJoinOptions(t, 2)
	listener := listenAs(t, o)
	ctx, cancel := context.WithCancel(patience(t))
	done := joinLater(ctx, "a", o)
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	script{t, conn}.hear(helloKind)
	cancel()
	r := <-done
	told, ok := errors.AsType[*JoinError](r.err)
	if !ok || !slices.Equal(told.Silent, coordinatorAt(conn)) { // both ends are this process
		t.Errorf("it says %v", r.err)
	}
	if want := fmt.Sprintf("no answer from: pid %d (coordinator)", os.Getpid()); len(told.Silent) > 0 && !strings.Contains(r.err.Error(), want) {
		t.Errorf("%q lacks %q", r.err, want)
	}
}

// TestJoinHearsTheEnd: a coordinator that fails while a member answers is still heard.
func TestJoinHearsTheEnd(t *testing.T) {
	o := newJoinOptions(t, 2)
	listener := listenAs(t, o)
	done := joinLater(patience(t), "a", o)
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	s := script{t, conn}
	s.hear(helloKind)
	if err := conn.CloseRead(); err != nil { // so that the answer cannot be written
		t.Fatal(err)
	}
	s.say(&message{Kind: proposeKind, Round: 1, Base: probe.Slot})
	s.say(&message{Kind: failKind, Code: "agreement", Reason: "a test ends it"})
	conn.Close()
	r := <-done
	wantError(t, "join", r.err, ErrNoAgreement)
}

// TestJoinOutrun: when an outsider makes the heap first, the coordinator opens that, without what was
// left of its own attempt.
func TestJoinOutrun(t *testing.T) {
	o := newJoinOptions(t, 1)
	all := (&Options{Size: o.Size, Dir: o.Dir, MaxPeers: o.MaxPeers, MaxRoots: o.MaxRoots, MaxCaches: o.MaxCaches}).orDefault()
	j, err := newJoining("a", 1, all)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	outsider := mustCreate(t, "a", &all)
	base := outsider.Base()
	if err := outsider.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.reserve(base); err != nil {
		t.Fatal(err)
	}
	if err := j.reservation.Release(); err != nil { // as the attempt does when it loses the race for the name
		t.Fatal(err)
	}
	_, err = (&coordinator{joining: j}).commit()
	wantError(t, "commit", err, errAgain)
	h, err := j.open()
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, h)
}

// TestJoinDeadline: nobody else comes, and the error says so.
func TestJoinDeadline(t *testing.T) {
	o := newJoinOptions(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	done := joinLater(ctx, "a", o)
	s, j := meetAs(t, o, "a")
	s.say(j.shy())
	s.hear(rosterKind)
	cancel()
	r := <-done
	told, ok := errors.AsType[*JoinError](r.err)
	if !errors.Is(r.err, context.Canceled) || !ok || told.Present != 2 || told.Wanted != 3 || len(told.Members) != 2 {
		t.Fatalf("error %v", r.err)
	}
	if text := r.err.Error(); !strings.Contains(text, "2 of 3 members came: pid ") {
		t.Error(text)
	}
	wantFiles(t, o.Dir)
}

func TestJoinArguments(t *testing.T) {
	o := newJoinOptions(t, -1)
	for what, test := range map[string]struct {
		name   string
		change func(*JoinOptions)
		want   error
	}{
		"too few":       {"a", func(o *JoinOptions) { o.Members = -1 }, ErrMembers},
		"too many":      {"a", func(o *JoinOptions) { o.Members = MaxMembers + 1 }, ErrMembers},
		"odd base":      {"a", func(o *JoinOptions) { o.Members, o.Base = 2, 1 }, probe.ErrUnaligned},
		"bad name":      {"-a", func(o *JoinOptions) { o.Members = 2 }, ErrName},
		"bad size":      {"a", func(o *JoinOptions) { o.Members, o.Size = 2, 1 }, ErrSize},
		"public folder": {t.TempDir() + "/a.heap", func(o *JoinOptions) { o.Members = 2 }, ErrInsecure},
	} {
		opts := *o
		test.change(&opts)
		_, err := Join(patience(t), test.name, &opts)
		wantError(t, what, err, test.want)
	}
}

// TestJoinTwiceInOneProcess: the second call would find the first in its way.
func TestJoinTwiceInOneProcess(t *testing.T) {
	o := newJoinOptions(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := joinLater(ctx, "a", o)
	meetAs(t, o, "a")
	_, err := Join(patience(t), "a", o)
	wantError(t, "second call", err, ErrOpen)
	cancel()
	<-done
}

// TestSweepMeeting: List removes the rendezvous of dead processes and leaves that of live ones alone.
func TestSweepMeeting(t *testing.T) {
	o := newJoinOptions(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := joinLater(ctx, "live", o)
	meetAs(t, o, "live")
	for _, name := range []string{".dead.heap.join", ".dead.heap.sock"} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := List(o.forOpen()); err != nil {
		t.Error(err)
	}
	wantFiles(t, o.Dir, ".live.heap.join", ".live.heap.sock")
	cancel()
	<-done
}

// TestConflictError: a base that is taken here is explained with who has it elsewhere.
func TestConflictError(t *testing.T) {
	o := newOptions(t)
	p := startPeer(t, o)
	p.mustDo(t, "create", "a")
	info, err := Stat("a", o)
	if err != nil {
		t.Fatal(err)
	}
	before, err := Explain("a", 0, o)
	if err != nil || !before.Free() || before.Attached || len(before.Peers) != 1 || before.PID != os.Getpid() {
		t.Errorf("before: %+v, %v", before, err)
	}
	r, err := probe.Reserve(info.Base+probe.Guard, probe.Guard)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	_, err = Open("a", o)
	conflict, ok := errors.AsType[*ConflictError](err)
	if !ok || conflict.Name != "a" || conflict.Base != info.Base || conflict.Size != info.Size || len(conflict.Peers) != 1 || conflict.Peers[0].PID != p.PID() {
		t.Fatalf("error %v", err)
	}
	taken, ok := errors.AsType[*probe.TakenError](err)
	if !errors.Is(err, probe.ErrTaken) || !ok || len(taken.Classes) != len(taken.Mappings) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	for _, part := range []string{"reserved range", "1 peer is attached at that base: pid ", theLauncher[runtime.GOOS]} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	announce(t, info.Base, info.Size)
	_, err = Open("a", o)
	if inherited, ok := errors.AsType[*ConflictError](err); !ok || conflict.Inherited || !inherited.Inherited || !strings.Contains(err.Error(), "a program that started this one") {
		t.Errorf("error %v, before %+v", err, conflict)
	}
	e, err := Explain("a", 0, o)
	if err != nil || e.Free() || len(e.Conflicts) == 0 || e.Reserved {
		t.Errorf("explanation %+v, %v", e, err)
	}
	if sys.HasNoReplace { // the other process has it mapped
		if e, err := Explain("a", p.PID(), o); err != nil || !e.Attached || !e.Free() {
			t.Errorf("explanation of the peer %+v, %v", e, err)
		}
	}
}

// theLauncher is what an error of Open says of it, by system.
var theLauncher = map[string]string{"linux": `"shmheap run" reserves the range`}

// announce makes this process one that has inherited what a launcher said to another.
func announce(t *testing.T, base, size uint64) {
	t.Helper()
	t.Setenv("SHMHEAP_RESERVED", fmt.Sprintf("%#x,%#x,%032x", base, size, 1))
}

// TestExplainReserved: a reservation of the whole base that no launcher made is in the way.
func TestExplainReserved(t *testing.T) {
	o := newOptions(t)
	startPeer(t, o).mustDo(t, "create", "a")
	info, err := Stat("a", o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := probe.Reserve(info.Base, info.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	e, err := Explain("a", os.Getpid(), o)
	if err != nil || e.Free() || e.Attached || len(e.Conflicts) == 0 {
		t.Errorf("explanation %+v, %v", e, err)
	}
	if e.Reserved || e.Doubt != nil {
		t.Errorf("reserved %t, doubt %v: %+v", e.Reserved, e.Doubt, e.Conflicts)
	}
}

func TestMessages(t *testing.T) {
	j := &joining{self: Member{1, "x"}}
	if err := j.wishLike(&JoinOptions{Members: 2, Size: testSize, MaxPeers: 16, MaxRoots: 8, MaxCaches: 64}, &j.wish); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*message{
		j.shy(), {Kind: rosterKind, Count: 1, Roster: []Member{{1, "a"}}}, {Kind: proposeKind, Round: 1, Base: probe.Slot},
		{Kind: reserveKind, Round: 1}, {Kind: refuseKind, Round: 1, Reason: "r", Refused: []probe.Range{{Start: 1, End: 2}}},
		{Kind: abortKind, Round: 2}, {Kind: commitKind}, {Kind: failKind, Code: "create", Reason: cutText(strings.Repeat("é\n", 2000))},
	} {
		var b bytes.Buffer
		if err := writeMessage(&b, m); err != nil {
			t.Fatal(err)
		}
		got, err := readMessage(&b)
		if diff := cmp.Diff(m, got); err != nil || diff != "" {
			t.Errorf("%v: %v %s", m.Kind, err, diff)
		}
	}
	if err := writeMessage(new(bytes.Buffer), &message{Reason: strings.Repeat("x", maxFrame)}); err == nil {
		t.Error("wrote a message that is too long")
	}
}

// FuzzMessage reads any bytes. What is accepted is within the limits, and can be sent on.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00{}"))
	f.Add([]byte("\x11\x00\x00\x00{\"kind\":\"commit\"}"))
	var b bytes.Buffer
	j := &joining{self: Member{1, "x"}}
	if err := j.wishLike(&JoinOptions{Members: 2, Size: testSize, MaxPeers: 16, MaxRoots: 8, MaxCaches: 64}, &j.wish); err != nil {
		f.Fatal(err)
	}
	m := j.shy()
	m.Hello.Known, m.Hello.Gaps, m.Hello.Refused = true, []probe.Range{{Start: 5, End: 9}}, []probe.Range{{Start: 1, End: 2}}
	if err := writeMessage(&b, m); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := readMessage(bytes.NewReader(frame))
		if err != nil {
			return
		}
		if m.Kind == helloKind {
			for base := range probe.Candidates(m.Hello.Wish.Size, &probe.Options{Avoid: m.Hello.avoid()}) {
				if slices.ContainsFunc(m.Hello.Refused, probe.Range{Start: base, End: base + m.Hello.Wish.Size}.Overlaps) {
					t.Errorf("candidate %#x was refused", base)
				}
				break
			}
		}
		if len(m.Reason) > maxText && (m.Kind == failKind || m.Kind == refuseKind) || len(m.Roster) > maxRoster && m.Kind == rosterKind {
			t.Errorf("accepted %+v", m)
		}
	})
}
