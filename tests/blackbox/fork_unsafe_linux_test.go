package blackbox

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"structs"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// chain is the list of testdata/fork.c.
type chain struct {
	_ structs.HostLayout

	head  *node
	spare [2]*node
}

// offsets are what testdata/fork.c needs to know of the format.
func offsets() map[string]uint64 {
	var sb layout.Superblock
	var root layout.Root
	sections := unsafe.Offsetof(sb.Sections)
	return map[string]uint64{
		"MAGIC": layout.Magic, "READY": layout.ReadyValue, "VERSION": layout.Version,
		"SB_SIZE":        layout.SuperblockSize,
		"SB_MAGIC":       uint64(unsafe.Offsetof(sb.Magic)),
		"SB_VERSION":     uint64(unsafe.Offsetof(sb.Version)),
		"SB_READY":       uint64(unsafe.Offsetof(sb.Ready)),
		"SB_BASE":        uint64(unsafe.Offsetof(sb.Base)),
		"SB_REGION_SIZE": uint64(unsafe.Offsetof(sb.Size)),
		"SB_MAX_ROOTS":   uint64(unsafe.Offsetof(sb.MaxRoots)),
		"SB_ROOTS":       uint64(sections + unsafe.Offsetof(sb.Sections.Roots)),
		"ROOT_SIZE":      uint64(unsafe.Sizeof(root)),
		"ROOT_STATE":     uint64(unsafe.Offsetof(root.State)),
		"ROOT_OFFSET":    uint64(unsafe.Offsetof(root.Offset)),
		"ROOT_NAME":      uint64(unsafe.Offsetof(root.Name)),
	}
}

// compile builds a C program of testdata.
func compile(t *testing.T, name string, defines map[string]uint64) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	program := filepath.Join(t.TempDir(), name)
	args := []string{"-O1", "-Wall", "-Wextra", "-Werror", "-o", program, filepath.Join("testdata", name+".c")}
	for define, value := range defines {
		args = append(args, fmt.Sprintf("-D%s=%dULL", define, value))
	}
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestForkedCChild: a C program maps the heap where it belongs and forks; its child needs to do nothing
// to use it. All see each other's changes through raw pointers.
func TestForkedCChild(t *testing.T) {
	program := compile(t, "fork", offsets())
	b := newBox(t, 64<<20)
	c, err := alloc.New[chain](b.alloc)
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []**node{&c.head, &c.spare[0], &c.spare[1]} {
		if *to, err = alloc.New[node](b.alloc); err != nil {
			t.Fatal(err)
		}
		(*to).value = uint64(i + 1)
	}
	if c.head.next, err = alloc.New[node](b.alloc); err != nil {
		t.Fatal(err)
	}
	c.head.next.value = 20
	if err := alloc.StoreRoot(b.alloc, "chain", c); err != nil {
		t.Fatal(err)
	}

	p := shmtest.StartCommand(t, exec.Command(program, b.Path(), "chain"))
	p.Want("0: 2 nodes, sum 21")
	p.Want("1: 3 nodes, sum 1042") // doubled, and the child's node
	p.Succeed()
	var values []uint64
	for n := c.head; n != nil; n = n.next {
		values = append(values, n.value)
	}
	if got, want := fmt.Sprint(values), "[4 80 2000 1001]"; got != want {
		t.Errorf("list %s, want %s", got, want)
	}
	b.wantClean(t)
	b.wantLive(t, 5)
}
