package blackbox

import (
	"fmt"
	"structs"
	"sync/atomic"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func init() { programs["linker"] = runLinker }

// list is a list of raw pointers in the heap, to whose front any process adds nodes.
type list struct {
	_ structs.HostLayout

	head atomic.Pointer[node]
}

type node struct {
	_ structs.HostLayout

	next  *node
	value uint64
}

// push adds a node with the value.
func (l *list) push(a *alloc.Allocator, value uint64) error {
	n, err := alloc.New[node](a)
	if err != nil {
		return err
	}
	n.value = value
	for {
		n.next = l.head.Load()
		if l.head.CompareAndSwap(n.next, n) {
			return nil
		}
	}
}

// walk returns the number of nodes and the sum of their values.
func (l *list) walk() (count, sum uint64) {
	for n := l.head.Load(); n != nil; n = n.next {
		count, sum = count+1, sum+n.value
	}
	return count, sum
}

func (l *list) wantWalk(t testing.TB, count, sum uint64) {
	t.Helper()
	if c, s := l.walk(); c != count || s != sum {
		t.Errorf("list of %d nodes, sum %d, want %d and %d", c, s, count, sum)
	}
}

// newList makes an empty list under the root "list".
func (b box) newList(t testing.TB) *list {
	t.Helper()
	l, err := alloc.New[list](b.alloc)
	if err == nil {
		err = alloc.StoreRoot(b.alloc, "list", l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runLinker opens the heap and works on the list: "push VALUE" and "walk", until "close".
func runLinker() error {
	b, err := attach()
	if err != nil {
		return err
	}
	return b.link()
}

// link prints base and peer, and executes the commands that it hears.
func (b box) link() error {
	l, err := alloc.LoadRoot[list](b.alloc, "list")
	if err != nil {
		return err
	}
	fmt.Println(b.Base(), uint64(b.Peer()))
	for {
		var command string
		var value uint64
		fmt.Sscan(shmtest.Listen(), &command, &value)
		switch command {
		case "push":
			if err := l.push(b.alloc, value); err != nil {
				return err
			}
			fmt.Println("ok")
		case "walk":
			fmt.Println(l.walk())
		case "close":
			return b.Close()
		}
	}
}

// TestSixtyFourProcesses: all see one list at one address. Half of them are killed, and the others do
// not notice.
func TestSixtyFourProcesses(t *testing.T) {
	const count = 64
	b := newBox(t, 64<<20)
	l := b.newList(t)
	linkers := make([]*shmtest.Process, count)
	for i := range linkers {
		linkers[i] = shmtest.Start(t, "linker", b.dir)
	}
	for i, p := range linkers {
		var base, peer uint64
		if fmt.Sscan(p.Hear(), &base, &peer); base != b.Base() {
			t.Errorf("process %d has the heap at %#x, not %#x", p.PID(), base, b.Base())
		}
		p.Tell(fmt.Sprint("push ", i+1))
	}
	sum := uint64(0)
	for i, p := range linkers {
		p.Want("ok")
		sum += uint64(i + 1)
	}
	wantAlive(t, b, count+1, 0)
	wantWalks(t, linkers, count, sum)
	l.wantWalk(t, count, sum)
	b.wantLive(t, count+1)

	killed, left := linkers[:count/2], linkers[count/2:]
	for _, p := range killed {
		p.Kill()
	}
	wantAlive(t, b, count/2+1, count/2)
	for i, p := range left {
		p.Tell(fmt.Sprint("push ", i))
		sum += uint64(i)
	}
	for _, p := range left {
		p.Want("ok")
	}
	wantWalks(t, left, count+count/2, sum)
	if _, err := b.alloc.Recover(); err != nil {
		t.Fatal(err)
	}
	if r := b.alloc.Recovered(); r.Caches < count/2 {
		t.Errorf("recovered %+v, want a cache of each killed process", r)
	}
	wantAlive(t, b, count/2+1, 0)
	b.wantClean(t)
	b.wantLive(t, count+count/2+1)

	for _, p := range left {
		p.Tell("close")
	}
	for _, p := range left {
		p.Succeed()
	}
	wantAlive(t, b, 1, 0)
	l.wantWalk(t, count+count/2, sum)
}

// wantAlive compares the table of peers with how many there should be.
func wantAlive(t testing.TB, b box, alive, dead int) {
	t.Helper()
	peers, err := b.Peers()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Alive {
			alive--
		} else {
			dead--
		}
	}
	if alive != 0 || dead != 0 {
		t.Errorf("%d alive and %d dead peers too few: %+v", alive, dead, peers)
	}
}

func wantWalks(t testing.TB, linkers []*shmtest.Process, count, sum uint64) {
	t.Helper()
	for _, p := range linkers {
		if got, want := p.Ask("walk"), fmt.Sprintln(count, sum); got+"\n" != want {
			t.Errorf("process %d walked %s, want %s", p.PID(), got, want)
		}
	}
}
