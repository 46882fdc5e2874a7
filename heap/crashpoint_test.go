//go:build crashpoint

package heap

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// crash is a program that dies at a point, and what must hold afterwards.
type crash struct {
	point    string
	commands []string // the last one is fatal
	after    func(t *testing.T, o *Options)
}

// crashes has every point of this package at least once. In those whose commands open the heap a, this
// process has created it and has it open.
var crashes = []crash{
	{"heap.create.after-file", []string{"create b"}, nothingIsLeft},
	{"heap.create.before-superblock", []string{"create b"}, nothingIsLeft},
	{"heap.create.after-superblock", []string{"create b"}, nothingIsLeft},
	{"heap.attach.after-lock", []string{"create b"}, nothingIsLeft},
	{"heap.attach.before-state", []string{"create b"}, nothingIsLeft},
	{"heap.attach.after-state", []string{"create b"}, nothingIsLeft},
	{"heap.create.after-name", []string{"create b"}, heapIsComplete},
	{"heap.create.before-region", []string{"kernel", "create b"}, regionIsSwept(0)},
	{"heap.create.after-region", []string{"kernel", "create b"}, regionIsSwept(1)},
	{"heap.attach.after-state", []string{"kernel", "create b"}, regionIsSwept(1)},
	{"heap.remove.after-region", []string{"kernel", "create b", "close", "remove b"}, regionIsGone},
	{"heap.attach.after-lock", []string{"open a"}, peerIsGone(1, 0)},
	{"heap.attach.before-state", []string{"open a"}, peerIsGone(2, 0)},
	{"heap.attach.after-state", []string{"open a"}, peerIsGone(2, 1)},
	{"heap.detach.after-state", []string{"open a", "close"}, peerIsGone(2, 0)},
	{"heap.root.before-state", []string{"open a", "store new 0 1"}, rootIsStored(false)},
	{"heap.root.after-state", []string{"open a", "store new 0 1"}, rootIsStored(true)},
}

// TestEveryPointIsCrashedAt finds the points in the sources, so that none is without a test. Those of
// Join need several processes: tests/join kills at them, and looks for them in the same way.
func TestEveryPointIsCrashedAt(t *testing.T) {
	points := slices.DeleteFunc(shmtest.CrashPoints(t, "."), func(p string) bool {
		return strings.HasPrefix(p, "heap.join.") || strings.HasPrefix(p, "heap.lead.")
	})
	if len(points) == 0 {
		t.Fatal("no points found")
	}
	for _, p := range points {
		if !slices.ContainsFunc(crashes, func(c crash) bool { return c.point == p }) {
			t.Errorf("no process is killed at %s", p)
		}
	}
	for _, c := range crashes {
		if !slices.Contains(points, c.point) {
			t.Errorf("there is no point %s", c.point)
		}
	}
}

func TestCrashes(t *testing.T) {
	for _, c := range crashes {
		t.Run(c.point+" "+c.commands[0], func(t *testing.T) {
			o := newOptions(t)
			h := mustCreate(t, "a", o)
			mustStore(t, h, Root{Name: "old", Offset: data(h, 1)})
			dieAt(t, c, o)
			if err := h.Check().Err(); err != nil {
				t.Errorf("heap a: %v", err)
			}
			c.after(t, o)
			wantRoundTrip(t, o)
		})
	}
}

// dieAt runs the commands of c in a process that is killed at the point.
func dieAt(t *testing.T, c crash, o *Options) {
	t.Helper()
	cmd := shmtest.Command("peer", o.Dir)
	cmd.Env = append(cmd.Env, crashpoint.Env+"="+c.point)
	p := peer{shmtest.StartCommand(t, cmd)}
	last := len(c.commands) - 1
	for _, command := range c.commands[:last] {
		p.mustDo(t, command)
	}
	p.Tell(c.commands[last])
	p.Tell("exit") // should it live on
	if !p.Killed() {
		t.Fatalf("%q was not killed at %s: %v", c.commands, c.point, p.Wait())
	}
}

// nothingIsLeft: the next List takes away what the creator of b has left.
func nothingIsLeft(t *testing.T, o *Options) {
	if entries, err := os.ReadDir(o.Dir); err != nil || len(entries) != 2 {
		t.Errorf("the creator has left %v, %v: want one file besides a.heap", entries, err)
	}
	wantList(t, o, "a")
	wantFiles(t, o.Dir, "a.heap")
}

// regionIsSwept: what the creator of b has left goes together, by the Kernel alone.
func regionIsSwept(regions int) func(*testing.T, *Options) {
	return func(t *testing.T, o *Options) {
		k := standInFor(o)
		wantList(t, o, "a")
		if entries, err := os.ReadDir(o.Dir); err != nil || len(entries) != 2 || len(k.regions(t)) != regions {
			t.Errorf("there are %v, %v, and regions %v", entries, err, k.regions(t))
		}
		with := *o
		with.Kernel = k
		wantList(t, &with, "a")
		wantFiles(t, o.Dir, "a.heap")
		if len(k.regions(t)) != 0 {
			t.Errorf("left regions %v", k.regions(t))
		}
	}
}

// regionIsGone: a heap whose region has been removed can be removed.
func regionIsGone(t *testing.T, o *Options) {
	with := *o
	with.Kernel = standInFor(o)
	_, err := Open("b", &with)
	wantError(t, "open", err, ErrKernelGone)
	if err := Remove("b", &with); err != nil {
		t.Error(err)
	}
	wantFiles(t, o.Dir, "a.heap")
}

// heapIsComplete: with its name, b is a heap of which only the creator is dead.
func heapIsComplete(t *testing.T, o *Options) {
	wantList(t, o, "a", "b")
	wantFiles(t, o.Dir, "a.heap", "b.heap")
	b := mustOpen(t, "b", o)
	if r := b.Check(); len(r.Problems) != 0 || len(r.Notes) != 1 {
		t.Errorf("heap b: %+v", r)
	}
}

// peerIsGone: the slot of the dead peer can be taken, and has the given generation then. Before that
// the table shows so many dead peers.
func peerIsGone(generation uint32, dead int) func(*testing.T, *Options) {
	return func(t *testing.T, o *Options) {
		info, err := Stat("a", o)
		if err != nil || info.Peers != 1 {
			t.Errorf("%d peers, %v", info.Peers, err)
		}
		p := openPeer(t, "a", o)
		want := MakePeerID(1, generation)
		if dead > 0 { // a free slot comes first
			want = MakePeerID(2, 1)
		}
		if p.id(t) != want {
			t.Errorf("next peer is %v, want %v", p.id(t), want)
		}
	}
}

// rootIsStored: there is a root or there is not, and others can be made.
func rootIsStored(want bool) func(*testing.T, *Options) {
	return func(t *testing.T, o *Options) {
		p := openPeer(t, "a", o)
		answer := map[bool]string{true: "ok 0 1", false: "ErrNoRoot 0 0"}[want]
		if got := p.do("load new"); got != answer {
			t.Errorf("load: %s, want %s", got, answer)
		}
		p.mustDo(t, "store new 0 1")
		p.mustDo(t, "store other 0 1")
		p.mustDo(t, "delete new")
		p.mustDo(t, "delete other")
	}
}

// wantRoundTrip: the heap a can be opened and closed, has its root, and checks clean.
func wantRoundTrip(t *testing.T, o *Options) {
	t.Helper()
	p := openPeer(t, "a", o)
	p.mustDo(t, "load old")
	p.mustDo(t, "check")
	p.mustDo(t, "close")
}
