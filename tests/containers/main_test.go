package containers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"structs"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// programs are what the tests run in processes of their own.
var programs = map[string]func() error{"visitor": runVisitor}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

const heapName = "box"

// node is an element of a list of raw pointers.
type node struct {
	_ structs.HostLayout

	next  *node
	value uint64
}

// box is a heap with its allocator, open in this process.
type box struct {
	*heap.Heap
	alloc *alloc.Allocator
}

// publicDir returns a directory on tmpfs, where there is one, that every user can reach.
func publicDir(t *testing.T) string {
	t.Helper()
	parent := ""
	if runtime.GOOS == "linux" {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "shmheap-containers-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newBox creates a heap with a list 1, 2, 3 under the root "list".
func newBox(t *testing.T, o heap.Options) box {
	t.Helper()
	o.Size = 64 << 20
	h, err := heap.Create(heapName, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil && !errors.Is(err, heap.ErrClosed) {
			t.Error(err)
		}
	})
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	b := box{h, a}
	for value := uint64(1); value <= 3; value++ {
		if err := b.push(value); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// push puts a value in front of the list.
func (b box) push(value uint64) error {
	first, err := alloc.LoadRoot[node](b.alloc, "list")
	if err != nil && !errors.Is(err, heap.ErrNoRoot) {
		return err
	}
	n, err := alloc.New[node](b.alloc)
	if err != nil {
		return err
	}
	n.next, n.value = first, value
	return alloc.StoreRoot(b.alloc, "list", n)
}

// walk returns the values of the list.
func (b box) walk() (string, error) {
	n, err := alloc.LoadRoot[node](b.alloc, "list")
	if err != nil {
		return "", err
	}
	var values []uint64
	for ; n != nil; n = n.next {
		values = append(values, n.value)
	}
	return fmt.Sprint(values), nil
}

// wantWalk fails the test unless the list has these values.
func (b box) wantWalk(t *testing.T, want string) {
	t.Helper()
	if got, err := b.walk(); err != nil || got != want {
		t.Errorf("list %s, %v, want %s", got, err, want)
	}
}

// runVisitor executes commands: each is answered by a line, "ok" and results, or what sentinel says of the error.
func runVisitor() error {
	var b box
	for {
		words := strings.Fields(shmtest.Listen())
		result, err := b.execute(words[0], words[1:])
		if err != nil {
			result = sentinel(err)
		}
		fmt.Println(result)
	}
}

// sentinel names the error.
func sentinel(err error) string {
	for name, target := range map[string]error{
		"ErrReadOnly": heap.ErrReadOnly, "ErrInsecure": heap.ErrInsecure, "ErrNotExist": heap.ErrNotExist,
		"ErrInUse": heap.ErrInUse, "ErrBusy": heap.ErrBusy, "ErrExist": heap.ErrExist, "ErrGroup": heap.ErrGroup,
		"ErrPermission": heap.ErrPermission,
	} {
		if errors.Is(err, target) {
			return name
		}
	}
	if errors.Is(err, os.ErrPermission) {
		return "os.ErrPermission"
	}
	return "error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
}

// optionsOf reads options: dir=D, group=G, reads, read-only.
func optionsOf(words []string) *heap.Options {
	o := &heap.Options{Size: 64 << 20}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "dir":
			o.Dir = value
		case "group":
			o.Group = value
		case "reads":
			o.GroupReads = true
		case "read-only":
			o.ReadOnly = true
		}
	}
	return o
}

func (b *box) execute(command string, args []string) (string, error) {
	switch command {
	case "create", "open":
		h, err := heap.Open, error(nil)
		if command == "create" {
			h = heap.Create
		}
		if b.Heap, err = h(args[0], optionsOf(args[1:])); err != nil {
			return "", err
		}
		if b.alloc, err = alloc.Open(b.Heap); err != nil {
			return "", err
		}
		return fmt.Sprint("ok ", b.Base(), " ", uint64(b.Peer())), nil
	case "stat":
		_, err := heap.Stat(args[0], optionsOf(args[1:]))
		return "ok", err
	case "list":
		infos, err := heap.List(optionsOf(args))
		return fmt.Sprint("ok ", len(infos)), err
	case "remove":
		return "ok", heap.Remove(args[0], optionsOf(args[1:]))
	case "raw": // past the library: may the system's own calls do it?
		return "ok", raw(args[0], args[1])
	}
	return b.executeOpen(command)
}

// executeOpen executes the commands that need an open heap.
func (b *box) executeOpen(command string) (string, error) {
	switch command {
	case "walk":
		return b.walk()
	case "push":
		return "ok", b.push(9)
	case "close":
		return "ok", b.Close()
	case "pid":
		return fmt.Sprint(os.Getpid()), nil
	case "check":
		return "ok", b.alloc.Check().Err()
	case "stats":
		s, err := b.alloc.Stats()
		return fmt.Sprint("ok ", s.Live), err
	case "mutate":
		return mutate(*b)
	}
	return "", fmt.Errorf("unknown command %q", command)
}

// raw tries what a thief would.
func raw(what, path string) error {
	switch what {
	case "read":
		f, err := os.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	case "write":
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		return err
	case "names":
		_, err := os.ReadDir(path)
		return err
	case "plant":
		return os.WriteFile(filepath.Join(path, "planted.heap"), nil, 0o600)
	case "unlink":
		return os.Remove(path)
	case "mkdir":
		return os.Mkdir(path, 0o777)
	case "symlink":
		to, at, _ := strings.Cut(path, ",")
		return os.Symlink(to, at)
	}
	return fmt.Errorf("unknown attempt %q", what)
}
