package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// namespaces are what a container has of its own.
var namespaces = []struct {
	name  string
	flags uintptr
}{
	{"pid", syscall.CLONE_NEWPID},
	{"mount", syscall.CLONE_NEWNS},
	{"user", syscall.CLONE_NEWUSER},
	{"all", syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET},
}

// visitor is a process that comes to a heap by the commands of runVisitor.
type visitor struct{ *shmtest.Process }

// contained starts a visitor in namespaces of its own. In a user namespace it is the same user under the same number.
func contained(t *testing.T, flags uintptr) visitor {
	t.Helper()
	cmd := shmtest.Command("visitor")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	}
	return visitor{startUnlessDenied(t, cmd)}
}

// startUnlessDenied skips the test where namespaces are not to be had.
func startUnlessDenied(t *testing.T, cmd *exec.Cmd) *shmtest.Process {
	t.Helper()
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = cmd.SysProcAttr
	if err := probe.Run(); errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		shmtest.Skip(t, fmt.Sprint("namespaces: ", err), "run the tests as root, or allow user namespaces (sysctl user.max_user_namespaces)")
	}
	return shmtest.StartCommand(t, cmd)
}

// TestNamespaces: processes in namespaces of their own share the heap, and a death on either side is seen on the
// other, where the process ids mean something else.
func TestNamespaces(t *testing.T) {
	for _, n := range namespaces {
		t.Run(n.name, func(t *testing.T) {
			dir := filepath.Join(publicDir(t), "heaps")
			b := newBox(t, heap.Options{Dir: dir})
			v := contained(t, n.flags)
			id := v.open(t, b, dir)
			v.want(t, "walk", "[3 2 1]")
			v.want(t, "push", "ok")
			b.wantWalk(t, "[9 3 2 1]")
			wantPID(t, b, id, v.Ask("pid"), n.flags)
			wantDeathSeen(t, b, id, v)
			if _, err := b.alloc.Recover(); err != nil {
				t.Error(err)
			}
			b.wantClean(t)
		})
	}
}

// open makes the visitor open the heap and returns its peer.
func (v visitor) open(t *testing.T, b box, dir string) heap.PeerID {
	t.Helper()
	var base, id uint64
	got := v.Ask("open box dir=" + dir)
	if _, err := fmt.Sscanf(got, "ok %d %d", &base, &id); err != nil || base != b.Base() {
		t.Fatalf("open: %s, want the base %d", got, b.Base())
	}
	return heap.PeerID(id)
}

// wantPID: a peer tells its process id as it knows it, which in a pid namespace of its own is 1.
func wantPID(t *testing.T, b box, id heap.PeerID, pid string, flags uintptr) {
	t.Helper()
	if inner := flags&syscall.CLONE_NEWPID != 0; inner != (pid == "1") {
		t.Errorf("the visitor has pid %s", pid)
	}
	peers, err := b.Peers()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.ID == id && (!p.Alive || fmt.Sprint(p.PID) != pid) {
			t.Errorf("peer %+v, want pid %s and alive", p, pid)
		}
	}
}

// wantDeathSeen: a stopped visitor is alive, a killed one is dead at once, and who watches is told.
func wantDeathSeen(t *testing.T, b box, id heap.PeerID, v visitor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	defer cancel()
	told := make(chan heap.Departure, 1)
	go b.Watch(ctx, func(d heap.Departure) { told <- d })
	v.Signal(syscall.SIGSTOP)
	if alive, err := b.Alive(id); err != nil || !alive {
		t.Errorf("a stopped visitor is alive: %t, %v", alive, err)
	}
	begin := time.Now()
	v.Kill()
	if alive, err := b.Alive(id); err != nil || alive {
		t.Errorf("a killed visitor is alive: %t, %v", alive, err)
	}
	select {
	case d := <-told:
		if d.Peer != id || !d.Died {
			t.Errorf("departure %+v, want the death of %v", d, id)
		}
		t.Logf("the death was told after %v", time.Since(begin))
	case <-ctx.Done():
		t.Error("the death was not told")
	}
}

// TestTwoContainers: neither is in the namespaces of the test; each sees the other's death.
func TestTwoContainers(t *testing.T) {
	dir := filepath.Join(publicDir(t), "heaps")
	b := newBox(t, heap.Options{Dir: dir})
	all := namespaces[len(namespaces)-1].flags
	first, second := contained(t, all), contained(t, all)
	first.open(t, b, dir)
	second.open(t, b, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := first.Ask("push"); got != "ok" {
		t.Fatal(got)
	}
	first.Kill()
	second.Tell("walk")
	second.Want("[9 3 2 1]")
	if got := second.Ask("check"); got != "ok" {
		t.Error(got)
	}
	info, err := heap.Stat(heapName, &heap.Options{Dir: dir})
	if err != nil || info.Peers != 1 {
		t.Errorf("%d peers, %v, want the second container", info.Peers, err)
	}
}

// TestMountedElsewhere: a container that has the directory under another name has the same heap. Its path does not
// matter, and nor does a /proc that is not there.
func TestMountedElsewhere(t *testing.T) {
	dir := filepath.Join(publicDir(t), "heaps")
	b := newBox(t, heap.Options{Dir: dir})
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	program := shmtest.Command("visitor")
	script := fmt.Sprintf("mount --bind %s %s && mount -t tmpfs none /proc && exec %s", dir, elsewhere, program.Path)
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = program.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "mounting needs root", "run the tests as root")
	}
	v := visitor{startUnlessDenied(t, cmd)}
	id := v.open(t, b, elsewhere)
	if got := v.Ask("push"); got != "ok" {
		t.Fatal(got)
	}
	b.wantWalk(t, "[9 3 2 1]")
	v.Kill()
	if alive, err := b.Alive(id); err != nil || alive {
		t.Errorf("a killed visitor is alive: %t, %v", alive, err)
	}
}

// nobody and stranger are users that own nothing here, and commune is a group that both may be of.
const nobody, stranger, commune = 65534, 65533, 54321

// as starts a visitor that is another user.
func as(t *testing.T, uid uint32, groups ...uint32) visitor {
	t.Helper()
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "becoming another user needs root", "run the tests as root")
	}
	cmd := shmtest.Command("visitor")
	cmd.Path, cmd.Dir = reachable(t), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	return visitor{shmtest.StartCommand(t, cmd)}
}

// reachable copies the program to where everybody may run it.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shmheap-containers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "containers.test")
	from, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Chmod(0o755), to.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// want asks and fails the test unless that is the answer. An answer that is expected to begin with ok may go on.
func (v visitor) want(t *testing.T, command, want string) {
	t.Helper()
	if got := v.Ask(command); got != want && !(want == "ok" && strings.HasPrefix(got, "ok ")) {
		t.Errorf("%s: %s, want %s", command, got, want)
	}
}

// TestGroup: the members of a group share a heap that one of them has made, and nobody else gets in.
func TestGroup(t *testing.T) {
	dir := filepath.Join(publicDir(t), "heaps")
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "becoming another user needs root", "run the tests as root")
	}
	b := newBox(t, heap.Options{Dir: dir, Group: fmt.Sprint(commune)})
	wantMode(t, dir, os.ModeDir|os.ModeSetgid|0o770)
	wantMode(t, b.Path(), 0o660)
	g := fmt.Sprintf(" dir=%s group=%d", dir, commune)
	member, outsider := as(t, nobody, commune), as(t, stranger)
	member.want(t, "open box dir="+dir, "ErrPermission") // it did not say that it trusts the group
	member.want(t, "open box"+g, "ok")
	member.want(t, "walk", "[3 2 1]")
	member.want(t, "push", "ok")
	b.wantWalk(t, "[9 3 2 1]")
	member.want(t, "stat box"+g, "ok")
	member.want(t, "list"+g, "ok 1")
	for _, command := range []string{"open box", "open box read-only", "stat box", "remove box", "create other", "list"} {
		outsider.want(t, command+g, "ErrPermission")
	}
	outsider.want(t, "open box group=no-such-group dir="+dir, "ErrGroup")
	second := as(t, nobody, commune)
	second.want(t, "create other"+g, "ok")
	if h, err := heap.Open("other", &heap.Options{Dir: dir, Group: fmt.Sprint(commune)}); err != nil {
		t.Errorf("a heap that another member made: %v", err)
	} else if err := h.Close(); err != nil {
		t.Error(err)
	}
	member.Kill()
	if _, err := b.alloc.Recover(); err != nil {
		t.Error(err)
	}
	b.wantClean(t)
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != want || info.Sys().(*syscall.Stat_t).Gid != commune {
		t.Errorf("%s: %v, group %d, %v; want %v", path, info.Mode(), info.Sys().(*syscall.Stat_t).Gid, err, want)
	}
}

// TestGroupThatReads: members may read, and not write, whatever they try.
func TestGroupThatReads(t *testing.T) {
	dir := filepath.Join(publicDir(t), "heaps")
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "becoming another user needs root", "run the tests as root")
	}
	b := newBox(t, heap.Options{Dir: dir, Group: fmt.Sprint(commune), GroupReads: true})
	makeQueueAndLocks(t, b)
	wantMode(t, b.Path(), 0o640)
	g := fmt.Sprintf(" dir=%s group=%d", dir, commune)
	member := as(t, nobody, commune)
	member.want(t, "open box"+g, "ErrPermission")
	member.want(t, "raw write "+b.Path(), "os.ErrPermission")
	member.want(t, "open box read-only"+g, "ok")
	member.want(t, "walk", "[3 2 1]")
	if got := member.Ask("mutate"); !strings.HasPrefix(got, "0 of 3") {
		t.Errorf("changes that a reader gets away with: %s", got)
	}
	// What a reader locks, it locks for reading, which is no sign of life.
	peers, err := b.Peers()
	if err != nil || len(peers) != 1 {
		t.Errorf("peers %v, %v", peers, err)
	}
}

// TestThief: a second user gets nothing of a heap that is private, in whatever way it tries.
func TestThief(t *testing.T) {
	public := publicDir(t)
	dir := filepath.Join(public, "heaps")
	b := newBox(t, heap.Options{Dir: dir})
	thief := as(t, nobody)
	for _, command := range []string{"open box", "open box read-only", "stat box", "remove box", "create other", "list"} {
		thief.want(t, command+" dir="+dir, "ErrPermission")
	}
	thief.want(t, "open "+b.Path(), "ErrPermission")
	for _, attempt := range []string{
		"read " + b.Path(), "write " + b.Path(), "names " + dir, "plant " + dir, "unlink " + b.Path(), "unlink " + dir,
		fmt.Sprintf("read /proc/%d/maps", os.Getpid()), fmt.Sprintf("read /proc/%d/mem", os.Getpid()),
		fmt.Sprintf("names /proc/%d/map_files", os.Getpid()), fmt.Sprintf("names /proc/%d/fd", os.Getpid()),
	} {
		thief.want(t, "raw "+attempt, "os.ErrPermission")
	}
	b.wantWalk(t, "[3 2 1]")
	b.wantClean(t)
}

// TestTrap: what a second user puts where a heap or its directory is expected is not used. The directory above lets
// everybody make names, as /dev/shm does.
func TestTrap(t *testing.T) {
	public := publicDir(t)
	if err := os.Chmod(public, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(public, "mine")
	newBox(t, heap.Options{Dir: mine})
	thief := as(t, nobody, commune)
	squatted, linked, shared := filepath.Join(public, "squatted"), filepath.Join(public, "linked"), filepath.Join(public, "shared")
	thief.want(t, "raw mkdir "+squatted, "ok")
	thief.want(t, "raw symlink "+mine+","+linked, "ok")
	thief.want(t, "create trap dir="+shared, "ok")
	for dir, want := range map[string]error{squatted: heap.ErrPermission, linked: heap.ErrInsecure, shared: heap.ErrPermission} {
		o := &heap.Options{Dir: dir}
		_, err := heap.Open(heapName, o)
		wantError(t, "open in "+dir, err, want)
		_, err = heap.Create("new", o)
		wantError(t, "create in "+dir, err, want)
		_, err = heap.List(o)
		wantError(t, "list "+dir, err, want)
		o.Group = fmt.Sprint(commune) // the directory was not given to that group
		_, err = heap.Open(heapName, o)
		wantError(t, "open for a group in "+dir, err, want)
	}
	for _, path := range []string{filepath.Join(shared, "trap.heap"), filepath.Join(linked, "..", "shared", "trap.heap")} {
		_, err := heap.Open(path, nil)
		wantError(t, "open "+path, err, heap.ErrPermission)
		_, err = heap.OpenReadOnly(path, nil)
		wantError(t, "open read-only "+path, err, heap.ErrPermission)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantClean fails the test when a check finds damage, or something that recovery had to return.
func (b box) wantClean(t *testing.T) {
	t.Helper()
	r := b.alloc.Check()
	for _, p := range append(r.Problems, r.Notes...) {
		t.Error("check: ", p)
	}
}
