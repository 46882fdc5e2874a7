//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

func init() {
	programs["actor"] = runActor
	programs["victim"] = runVictim
}

func (p *party) openFor(has has) error {
	var err error
	switch has {
	case hasNothing:
		return nil
	case hasHeap:
		p.heap, err = heap.Open(p.path, nil)
		return err
	}
	if err = p.open(); err == nil && has == hasCaches {
		err = p.openCaches()
	}
	return err
}

// runActor makes one operation on a thread of its own, between two marks.
func runActor() error {
	runtime.LockOSThread()
	op, err := operationNamed(os.Args[2])
	if err != nil {
		return err
	}
	p := newParty(os.Args[1], op, uint64(os.Getpid()))
	err = p.openFor(op.has)
	if err == nil && op.ready != nil {
		err = op.ready(p)
	}
	if err != nil {
		return fmt.Errorf("get ready: %w", err)
	}
	fmt.Println(sys.ThreadID())
	shmtest.Listen()
	mark(markBegin)
	err = op.operate(p)
	mark(markEnd)
	fmt.Println("done:", err)
	shmtest.Listen()
	return nil
}

// runVictim leaves something behind.
func runVictim() error {
	op, err := operationNamed(os.Args[2])
	if err != nil {
		return err
	}
	p := newParty(os.Args[1], op, uint64(os.Getpid()))
	if err = p.openFor(hasCaches); err == nil {
		err = op.victim(p)
	}
	if err == nil {
		sys.KillSelf()
	}
	return err
}

// scene is a heap with a host that lives, and an actor that is about to die.
type scene struct {
	t     testing.TB
	op    *operation
	host  *party
	actor *actor
	at    *places
}

// newScene makes everything ready for the operation's first instruction.
func newScene(t testing.TB, dir string, op *operation) *scene {
	t.Helper()
	s := &scene{t: t, op: op}
	s.host = newHost(t, filepath.Join(dir, "scene.heap"), op)
	s.actor = startActor(t, "actor", s.host.path, op.name)
	if op.victim != nil {
		if p := shmtest.Start(t, "victim", s.host.path, op.name); !p.Killed() {
			t.Fatalf("victim: %s", p.Said())
		}
	}
	s.at = s.places()
	if op.alone {
		s.hostLeaves()
	}
	s.actor.begin()
	return s
}

func newHost(t testing.TB, path string, op *operation) *party {
	t.Helper()
	os.Remove(path)
	p := newParty(path, op, 1)
	size := max(op.heapSize, 4<<20)
	var err error
	p.heap, err = heap.Create("scene", &heap.Options{Path: path, Size: size, MaxPeers: 8, MaxRoots: 8, MaxCaches: 24})
	if err != nil {
		t.Fatal(err)
	}
	if p.alloc, err = alloc.Open(p.heap); err == nil {
		err = p.openCaches()
	}
	if err == nil {
		p.ledger, err = alloc.New[ledger](p.cache)
	}
	if err == nil {
		err = alloc.StoreRoot(p.alloc, "ledger", p.ledger)
	}
	if err == nil && op.prepare != nil {
		err = op.prepare(p)
	}
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	return p
}

// hostLeaves ends the host's part in a scene in which the actor is to be alone, and hostReturns begins another.
func (s *scene) hostLeaves() {
	s.t.Helper()
	if err := s.host.heap.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.at.host = 0
}

func (s *scene) hostReturns() {
	s.t.Helper()
	if err := s.host.open(); err != nil {
		s.t.Fatal(err)
	}
}

// stats counts what is in use: blocks, spans, caches, arenas.
func (s *scene) stats() [4]int {
	s.t.Helper()
	if s.op.alone {
		s.hostReturns()
		defer s.hostLeaves()
	}
	stats, err := s.host.alloc.Stats()
	if err != nil {
		s.actor.fail("stats: %v", err)
	}
	return [4]int{int(stats.Live), int(stats.Slabs + stats.Large), int(stats.Caches), int(stats.Arenas)}
}

func (s *scene) places() *places {
	s.t.Helper()
	roots, err := s.host.heap.Roots()
	if err != nil {
		s.t.Fatal(err)
	}
	at := &places{geometry: s.host.heap.Geometry(), host: s.host.heap.Peer()}
	for _, r := range roots {
		at.roots = append(at.roots, r.Offset)
	}
	return at
}

// end ends what is left of the scene.
func (s *scene) end() {
	s.t.Helper()
	s.actor.kill()
	if !s.op.alone {
		s.hostLeaves()
	}
}

// trace makes the operation instruction by instruction and returns what the heap's file held in between,
// each content once. Afterwards actor and host are gone.
func (s *scene) trace() []*image {
	s.t.Helper()
	before := s.stats()
	images := s.actor.trace(s.host.path, s.at)
	after := s.stats()
	if want := [4]int{before[0] + s.op.live, before[1] + s.op.spans, before[2] + s.op.caches, before[3] + s.op.arenas}; after != want {
		s.t.Errorf("blocks, spans, caches and arenas in use were %v and are %v, want %v", before, after, want)
	}
	s.end()
	return images
}

// trace makes all steps from where the actor stands.
func (a *actor) trace(path string, at *places) []*image {
	a.t.Helper()
	w := newWatcher(a.t, path, at)
	defer w.close(a.t)
	last := takeImage(a.t, path)
	last.place = "the begin"
	images := []*image{last}
	seen := map[[32]byte]*image{last.sum: last}
	for last.count++; ; last.count++ {
		if !a.step() {
			break
		}
		if !w.changed() {
			continue
		}
		im := takeImage(a.t, path)
		if old, ok := seen[im.sum]; ok {
			last = old
			continue
		}
		im.first, im.place = a.steps, a.where()
		images, last = append(images, im), im
		seen[im.sum] = im
	}
	if said := a.finish(); said != "done: <nil>" {
		a.fail("the operation: %s", said)
	}
	return images
}

// judge recovers a copy of the image, with the host alive and then without it, and accounts for all.
func (im *image) judge(t testing.TB, dir string, op *operation, at *places) (leaked uint64) {
	t.Helper()
	path := filepath.Join(dir, "copy.heap")
	os.Remove(path)
	f := im.restore(t, path)
	defer f.Close()
	alive(t, f, at.host)
	p := newParty(path, op, 2)
	err := p.open()
	if err == nil {
		err = p.openCaches()
	}
	if err == nil {
		leaked, err = p.settle(op.mayLeak)
	}
	if err == nil && at.host != 0 {
		err = sys.Unlock(f, peerByte(at.host)) // now the host is dead too
	}
	if err == nil {
		_, err = p.alloc.Recover()
	}
	if err == nil {
		err = p.dissolve(leaked)
	}
	if p.heap != nil {
		err = errors.Join(err, p.heap.Close())
	}
	if err != nil {
		t.Errorf("killed behind instruction %d, %s: %v", im.first, im.place, err)
	}
	return leaked
}

// alive makes a peer of a heap that was copied live as long as f is open: its byte is locked. No peer is 0.
func alive(t testing.TB, f *os.File, peer heap.PeerID) {
	t.Helper()
	if peer == 0 {
		return
	}
	if ok, err := sys.TryLock(f, peerByte(peer)); !ok || err != nil {
		t.Fatal("lock:", err)
	}
}

// traceRecovery opens a copy of the image and returns what recovering makes of it, instruction by
// instruction.
func (im *image) traceRecovery(t testing.TB, dir string, at *places) []*image {
	t.Helper()
	path := filepath.Join(dir, "recovery.heap")
	os.Remove(path)
	f := im.restore(t, path)
	defer f.Close()
	alive(t, f, at.host)
	a := startActor(t, "actor", path, "alloc.Open")
	a.begin()
	images := a.trace(path, at)
	a.kill()
	for _, second := range images {
		second.place = "recovering from " + im.place + ", at " + second.place
	}
	return images
}

// killAt really kills the actor behind k instructions, or at the end of the operation: the file is left as it
// was, and the host recovers and goes on.
func (s *scene) killAt(k int) (leaked uint64) {
	s.t.Helper()
	for range k {
		if !s.actor.step() {
			break
		}
	}
	before, where := takeImage(s.t, s.host.path), s.actor.where()
	s.actor.kill()
	if after := takeImage(s.t, s.host.path); after.sum != before.sum {
		s.t.Errorf("killed at %s: the file changed", where)
	}
	var err error
	if s.op.alone {
		s.hostReturns()
		err = s.host.openCaches()
	}
	if err == nil {
		leaked, err = s.host.settle(s.op.mayLeak)
	}
	if err == nil {
		err = s.host.dissolve(leaked)
	}
	if err := errors.Join(err, s.host.heap.Close()); err != nil {
		s.t.Errorf("killed behind instruction %d, at %s: %v", k, where, err)
	}
	return leaked
}

// full says that everything is to be tried: it takes half an hour.
var full = os.Getenv("SHMHEAP_CRASH") == "full"

// tally is what a test of an operation has seen.
type tally struct {
	points, images, leaks int // places between instructions, contents of the heap, places where a block leaks
	kills                 int // real ones
	recoveries            int // images whose recovery was traced, too
	again, againImages    int // places and contents there
}

func (y *tally) add(o tally) {
	y.points, y.images, y.leaks = y.points+o.points, y.images+o.images, y.leaks+o.leaks
	y.kills, y.recoveries = y.kills+o.kills, y.recoveries+o.recoveries
	y.again, y.againImages = y.again+o.again, y.againImages+o.againImages
}

func (y tally) String() string {
	return fmt.Sprintf("%7d instructions, %3d contents, a block leaks at %4d; %3d real kills; recovery of %3d: %7d instructions, %4d contents",
		y.points, y.images, y.leaks, y.kills, y.recoveries, y.again, y.againImages)
}

// TestEveryInstruction makes each operation under a tracer, instruction by instruction, and recovers from
// each content that the heap's file has had: that is what a kill leaves there. Of some it makes the
// recovery under the tracer too. And it really kills, at some places.
func TestEveryInstruction(t *testing.T) {
	var total tally
	for i := range operations {
		op := &operations[i]
		if op.long && !full {
			continue
		}
		t.Run(strings.ReplaceAll(op.name, " ", "_"), func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			y := testOperation(t, op, i)
			t.Logf("note: %-26s%v", op.name, y)
			total.add(y)
		})
	}
	t.Logf("note: %-26s%v", "all", total)
}

func testOperation(t *testing.T, op *operation, number int) (y tally) {
	dir := newDir(t)
	skip := 0
	if op.skim && !full {
		skip = newScene(t, dir, op).quiet()
	}
	s := newScene(t, dir, op)
	s.actor.skip(skip)
	at := *s.at
	images := s.trace()
	y.images = len(images)
	for i, im := range images {
		y.points += im.count
		if im.judge(t, dir, op, &at) > 0 {
			y.leaks += im.count
		}
		if !op.lock && (full || number%4 == 0 && i == len(images)/2) {
			y.recoveries++
			for _, second := range im.traceRecovery(t, dir, &at) {
				second.judge(t, dir, op, &at)
				y.again += second.count
				y.againImages++
			}
		}
		if full || i == number%len(images) {
			s := newScene(t, dir, op)
			s.actor.skip(skip)
			s.killAt(im.first)
			y.kills++
		}
	}
	return y
}

// quiet makes the operation by system calls and returns how many places, where it enters or leaves one, lie
// in front of the first that changes the heap.
func (s *scene) quiet() int {
	s.t.Helper()
	w := newWatcher(s.t, s.host.path, s.at)
	defer w.close(s.t)
	defer s.end()
	for n := 0; ; n++ {
		s.actor.skip(1)
		if w.changed() {
			return max(n-1, 0)
		}
	}
}
