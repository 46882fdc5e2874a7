package blackbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

func init() {
	programs["heir"] = runHeir
	programs["receiver"] = runReceiver
}

// newAnonymous creates a heap without a name.
func newAnonymous(t *testing.T) box {
	t.Helper()
	h, err := heap.CreateAnonymous(&heap.Options{Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	return box{Heap: h, alloc: a}
}

func (b box) mustFile(t *testing.T) *os.File {
	t.Helper()
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// linkFile opens the heap behind f and works on its list.
func linkFile(f *os.File) error {
	h, err := heap.OpenFile(f, nil)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	return box{Heap: h, alloc: a}.link()
}

// runHeir works on the heap whose descriptor it inherited.
func runHeir() error { return linkFile(os.NewFile(3, "inherited")) }

// runReceiver works on the heap whose descriptor arrives at the socket of its argument.
func runReceiver() error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: os.Args[1], Net: "unix"})
	if err != nil {
		return err
	}
	f, err := sys.ReceiveFile(conn)
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	return linkFile(f)
}

// TestInheritedDescriptor: a child that inherits the descriptor of a heap without a name shares it, and
// its death is seen although this process has the same descriptor.
func TestInheritedDescriptor(t *testing.T) {
	b := newAnonymous(t)
	l, f := b.newList(t), b.mustFile(t)
	cmd := shmtest.Command("heir")
	cmd.ExtraFiles = []*os.File{f}
	first := shmtest.StartCommand(t, cmd)
	wantShared(t, b, l, first, 1)

	cmd = shmtest.Command("heir")
	cmd.ExtraFiles = []*os.File{f}
	wantShared(t, b, l, shmtest.StartCommand(t, cmd), 2)
	f.Close() // the heap needs it no longer
	if got := first.Ask("walk"); got != "4 12" {
		t.Errorf("first child walks %s", got)
	}
}

// TestDescriptorOverSocket: the same with a descriptor that is sent to a process that runs already.
func TestDescriptorOverSocket(t *testing.T) {
	b := newAnonymous(t)
	l, f := b.newList(t), b.mustFile(t)
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := shmtest.Start(t, "receiver", path)
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sys.SendFile(conn, f), f.Close(), conn.Close()); err != nil {
		t.Fatal(err)
	}
	wantShared(t, b, l, p, 1)
	p.Kill()
	wantAlive(t, b, 1, 1)
}

// wantShared: the process, the round-th of the test, has the heap at the same address and shares the
// list. The second is killed in the end.
func wantShared(t *testing.T, b box, l *list, p *shmtest.Process, round uint64) {
	t.Helper()
	var base, id uint64
	if fmt.Sscan(p.Hear(), &base, &id); base != b.Base() {
		t.Fatalf("the child has the heap at %#x, not %#x", base, b.Base())
	}
	if err := l.push(b.alloc, round); err != nil {
		t.Fatal(err)
	}
	p.Tell(fmt.Sprint("push ", 3*round))
	p.Want("ok")
	count, sum := 2*round, 2*round*(round+1) // of 4, 8 and so on
	l.wantWalk(t, count, sum)
	if got, want := p.Ask("walk"), fmt.Sprint(count, sum); got != want {
		t.Errorf("the child walks %s, want %s", got, want)
	}
	if alive, err := b.Alive(heap.PeerID(id)); !alive || err != nil {
		t.Errorf("peer %v is alive: %t, %v", heap.PeerID(id), alive, err)
	}
	if round == 1 {
		return
	}
	p.Kill()
	if alive, err := b.Alive(heap.PeerID(id)); alive || err != nil {
		t.Errorf("killed peer %v is alive: %t, %v", heap.PeerID(id), alive, err)
	}
}
