package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/shmheap/shmheap/kmod/bpf"
	"github.com/shmheap/shmheap/queue"
)

const nobody = 65534

func init() {
	programs["plain"] = runPlain
	programs["wrong base"] = runWrongBase
}

// TestPlainProcess: a privileged process makes the heap and the program, and one without any privilege joins by name, sends
// a command, and rings.
func TestPlainProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		shmtest.SkipAnywhere(t, "takes root to give a heap to a group")
	}
	dir, err := os.MkdirTemp("", "shmheap-plain-") // one of the test's own it could not enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o := options(dir)
	o.Group = strconv.Itoa(nobody)
	l := newLabWith(t, dir, o)
	s := newService(t, l, 16)
	r, err := arena.Of(l.heap)
	if err != nil {
		t.Fatal(err)
	}
	pin := r.Path() + "-server"
	if err := errors.Join(s.Program().Pin(pin), os.Chown(pin, -1, nobody), os.Chmod(pin, 0o660)); err != nil {
		t.Fatal(err)
	}
	defer unpin(t, pin)
	p := l.start(t, "plain")
	p.Want("reply 42")
	p.Want("a heap of its own: true, true")
	p.Succeed()
}

// runPlain gives all privilege up and uses the heap.
func runPlain() error {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		return err
	}
	o := options(os.Args[1])
	o.Group = strconv.Itoa(nobody)
	h, err := heap.Open(heapName, o)
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	if err := callPlainly(a); err != nil {
		return err
	}
	_, err = heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: arena.New(nil)})
	fmt.Printf("a heap of its own: %t, %t\n", errors.Is(err, bpf.ErrUnsupported), errors.Is(err, os.ErrPermission))
	return a.Heap().Close()
}

func callPlainly(a *alloc.Allocator) error {
	commands, err := queue.Open(a, "commands", nil)
	if err != nil {
		return err
	}
	r, err := arena.Of(a.Heap())
	if err != nil {
		return err
	}
	server, err := bpf.Open(r.Path() + "-server")
	if err != nil {
		return err
	}
	c, err := alloc.New[arena.Command](a)
	if err != nil {
		return err
	}
	out, err := commands.Producer()
	if err != nil {
		return err
	}
	c.Verb, c.Argument = arena.VerbEcho, 41
	if err := out.TryPush(offsetOf(a, c)); err != nil {
		return err
	}
	if _, err := server.Run([]byte{1, 23: 0}); err != nil {
		return err
	}
	fmt.Println("reply", c.Result)
	return nil
}

// runWrongBase opens the heap with another arena, of the first argument's size, and says what it was told.
func runWrongBase() error {
	other, err := heap.CreateAnonymous(&heap.Options{Size: argument(1), Kernel: arena.New(nil)})
	if err != nil {
		return err
	}
	f, err := other.KernelFile()
	if err != nil {
		return err
	}
	o := options(os.Args[1])
	o.Kernel = arena.New(&arena.Options{File: f})
	_, err = heap.Open(heapName, o)
	e, ok := errors.AsType[*arena.BaseError](err)
	fmt.Println(ok && e.ArenaBase == other.Base() && e.Mapping == other.Size() && errors.Is(err, arena.ErrBase))
	o.Kernel = arena.New(&arena.Options{File: os.Stdin})
	_, err = heap.Open(heapName, o)
	fmt.Println(errors.Is(err, heap.ErrCorrupt))
	return nil
}

// TestWrongBase: an arena that must be mapped elsewhere, or is none, is refused by name.
func TestWrongBase(t *testing.T) {
	l := newLab(t)
	for _, size := range []uint64{l.heap.Size(), 8 << 20} {
		p := l.start(t, "wrong base", size)
		p.Want("true")
		p.Want("true")
		p.Succeed()
	}
	// The kernel itself maps an arena nowhere else.
	f, err := l.heap.KernelFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, unmap, err := sys.MapDevice(f, int(l.heap.Size())); err == nil {
		t.Error("mapped at another address", unmap())
	}
}

// TestForked: a child of fork does not have the mapping, as documented, and can make it again at the same address.
func TestForked(t *testing.T) {
	l := newLab(t)
	python := "import ctypes, os, signal, sys\n" +
		"libc = ctypes.CDLL(None, use_errno=True)\n" +
		"libc.mmap.restype = ctypes.c_void_p\n" +
		"libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]\n" +
		fmt.Sprintf("base, size = %d, %d\n", l.heap.Base(), l.heap.Size()) +
		"attach = lambda: libc.mmap(base, size, 3, 1 | 0x100000, 3, 0) == base\n" +
		"magic = lambda: ctypes.c_uint64.from_address(base).value\n" +
		"print(attach(), hex(magic()), flush=True)\n" +
		"child = os.fork()\n" +
		"if child == 0: magic(); os._exit(0)\n" +
		"print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n" +
		"child = os.fork()\n" +
		"if child == 0: os._exit(7 if attach() and magic() else 1)\n" +
		"print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
	p := startPython(t, l, python)
	p.Want("True 0x504145484d48531a")
	p.Want("-11") // SIGSEGV
	p.Want("7")
}

// startPython runs a script that finds the arena at descriptor 3.
func startPython(t *testing.T, l *lab, script string) *shmtest.Process {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		shmtest.Skip(t, err.Error(), "install python3")
	}
	f, err := l.heap.KernelFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(path, "-c", script)
	cmd.ExtraFiles = []*os.File{f}
	return shmtest.StartCommand(t, cmd)
}
