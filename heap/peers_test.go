package heap

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

// lockForTest locks a byte of f, as a process would that was stopped afterwards.
func lockForTest(t testing.TB, f *os.File, off int64) {
	t.Helper()
	if ok, err := sys.TryLock(f, off); !ok || err != nil {
		t.Fatalf("lock: %t, %v", ok, err)
	}
}

func wantAlive(t testing.TB, what string, h *Heap, id PeerID, want bool) {
	t.Helper()
	if alive, err := h.Alive(id); err != nil || alive != want {
		t.Errorf("%s: peer %v is alive: %t, %v", what, id, alive, err)
	}
}

func TestPeerID(t *testing.T) {
	for _, slot := range []uint16{0, 1, 1<<16 - 1} {
		for _, generation := range []uint32{1, 77, 1<<32 - 1} {
			if id := MakePeerID(slot, generation); id.Slot() != slot || id.Generation() != generation {
				t.Errorf("%d.%d became %v", slot, generation, id)
			}
		}
	}
	if s := MakePeerID(3, 4).String(); s != "3.4" {
		t.Errorf("id is written as %q", s)
	}
}

// TestPeers: ids, generations and what the table says, through attach, detach and death.
func TestPeers(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	if h.Peer() != MakePeerID(0, 1) {
		t.Errorf("the creator is peer %v", h.Peer())
	}
	p, q := openPeer(t, "a", o), openPeer(t, "a", o)
	if p.id(t) != MakePeerID(1, 1) || q.id(t) != MakePeerID(2, 1) {
		t.Errorf("peers %v and %v", p.id(t), q.id(t))
	}
	pid := p.id(t)
	wantAlive(t, "self", h, h.Peer(), true)
	wantAlive(t, "attached", h, pid, true)
	wantPeers(t, h, peerOf(os.Getpid(), 0, 1, true), peerOf(p.PID(), 1, 1, true), peerOf(q.PID(), 2, 1, true))

	p.mustDo(t, "close")
	wantAlive(t, "detached", h, pid, false)
	p.mustDo(t, "open", "a")
	if p.id(t) != MakePeerID(1, 2) {
		t.Errorf("attached again as peer %v", p.id(t))
	}
	wantAlive(t, "earlier attachment of a live process", h, pid, false)

	q.Kill()
	wantAlive(t, "killed", h, MakePeerID(2, 1), false)
	wantPeers(t, h, peerOf(os.Getpid(), 0, 1, true), peerOf(p.PID(), 1, 2, true), peerOf(q.PID(), 2, 1, false))
	if r := h.Check(); len(r.Problems) != 0 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2.1") {
		t.Errorf("check: %+v", r)
	}
}

// TestNobody: ids that were never given out are not alive.
func TestNobody(t *testing.T) {
	h := mustCreate(t, "a", newOptions(t))
	for _, id := range []PeerID{
		0, MakePeerID(0, 0), MakePeerID(0, 2), MakePeerID(1, 0), MakePeerID(1, 1), MakePeerID(15, 1),
		MakePeerID(16, 1), MakePeerID(1<<16-1, 1), h.Peer() | 1<<48, h.Peer() | 1<<63, ^PeerID(0),
	} {
		wantAlive(t, "nobody", h, id, false)
	}
}

// TestStoppedPeerIsAlive: a process that does not run is not dead.
func TestStoppedPeerIsAlive(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	p := openPeer(t, "a", o)
	id := p.id(t)
	p.Signal(syscall.SIGSTOP)
	wantAlive(t, "stopped", h, id, true)
	wantError(t, "remove", Remove("a", o), ErrInUse)
	p.Signal(syscall.SIGCONT)
	if p.id(t) != id {
		t.Error("another id after the stop")
	}
	p.Signal(syscall.SIGSTOP)
	p.Kill()
	wantAlive(t, "killed while stopped", h, id, false)
}

// TestTooManyPeers: a full table refuses, and the slot of a dead peer is given away only when no
// other is left.
func TestTooManyPeers(t *testing.T) {
	o := newOptions(t)
	o.MaxPeers = 3
	h := mustCreate(t, "a", o)
	p, q := openPeer(t, "a", o), openPeer(t, "a", o)
	r := startPeer(t, o)
	if got := r.do("open", "a"); got != "ErrTooManyPeers" {
		t.Errorf("open a full heap: %s", got)
	}
	q.Kill()
	r.mustDo(t, "open", "a")
	if r.id(t) != MakePeerID(2, 2) {
		t.Errorf("took the place of a dead peer as %v", r.id(t))
	}
	wantAlive(t, "killed, and its slot taken", h, MakePeerID(2, 1), false)
	p.Kill()
	r.mustDo(t, "close")
	r.mustDo(t, "open", "a")
	if r.id(t) != MakePeerID(2, 3) {
		t.Errorf("took peer %v with a free slot", r.id(t))
	}
}

// TestDeathIsFinal: while the slot of a dead peer is freed, or taken by another, nobody sees the dead
// one alive.
func TestDeathIsFinal(t *testing.T) {
	t.Parallel()
	for command, free := range map[string]uint32{"release-dead": 1, "attach": 0} {
		t.Run(command, func(t *testing.T) {
			o := newOptions(t)
			o.MaxPeers = 3 + free // two that stay, the one that dies and perhaps a free slot
			h := mustCreate(t, "a", o)
			helper := openPeer(t, "a", o)
			for range 100 {
				p := openPeer(t, "a", o)
				id := p.id(t)
				p.Kill()
				wantAlive(t, "killed", h, id, false)
				helper.Tell(command)
				for answer := ""; answer == "" && !t.Failed(); answer = helper.Heard() {
					wantAlive(t, "killed before", h, id, false)
				}
			}
		})
	}
}

// TestGenerations: the slot's generation wraps around 0, which is nobody.
func TestGenerations(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	h.peers[1].State.Swap((1<<layout.PeerGenBits - 2) << layout.PeerStateBits)
	p := startPeer(t, o)
	for _, want := range []uint32{1<<32 - 1, 1, 2} {
		p.mustDo(t, "open", "a")
		if p.id(t) != MakePeerID(1, want) {
			t.Errorf("peer %v, want generation %d", p.id(t), want)
		}
		p.mustDo(t, "close")
	}
}

// TestProgramOfPeer: the name of a program is for people and is cut.
func TestProgramOfPeer(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	cmd := shmtest.Command("peer", o.Dir)
	cmd.Args[0] = "/some/where/" + strings.Repeat("x", 40)
	p := peer{shmtest.StartCommand(t, cmd)}
	p.mustDo(t, "open", "a")
	peers, err := h.Peers()
	if err != nil || len(peers) != 2 || peers[1].Program != strings.Repeat("x", layout.ProgramSize-1) {
		t.Errorf("peers %+v, %v", peers, err)
	}
}

func peerOf(pid int, slot uint16, generation uint32, alive bool) Peer {
	return Peer{ID: MakePeerID(slot, generation), PID: pid, UID: os.Getuid(), Alive: alive}
}

// wantPeers compares all but the program and the time of the attachment.
func wantPeers(t testing.TB, h *Heap, want ...Peer) {
	t.Helper()
	got, err := h.Peers()
	if err != nil || len(got) != len(want) {
		t.Fatalf("peers %+v, %v, want %+v", got, err, want)
	}
	for i, p := range got {
		if p.Program == "" || p.Attached.IsZero() {
			t.Errorf("peer %+v", p)
		}
		if p.Program, p.Attached = "", want[i].Attached; p != want[i] {
			t.Errorf("peer %+v, want %+v", p, want[i])
		}
	}
	info, err := h.Info()
	alive := 0
	for _, p := range want {
		if p.Alive {
			alive++
		}
	}
	if err != nil || info.Peers != alive {
		t.Errorf("info says %d peers, %v, want %d", info.Peers, err, alive)
	}
}
