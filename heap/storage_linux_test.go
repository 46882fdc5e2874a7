package heap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// shmDir returns a directory on tmpfs for heaps, which Create makes.
func shmDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shmheap-test-")
	if err != nil {
		shmtest.Skip(t, err.Error(), "mount a tmpfs at /dev/shm")
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "heaps")
}

// mount mounts a file system and returns its mount point.
func mount(t testing.TB, kind, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "mounting needs root", "run the tests as root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", kind, "-o", options, "none", dir).CombinedOutput(); err != nil {
		shmtest.Skip(t, "mount "+kind+": "+string(out), "run the tests where file systems can be mounted")
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %s", dir, out)
		}
	})
	return dir
}

// TestStorage: Commit makes the file take storage and Decommit gives it back, on a disk and on tmpfs.
func TestStorage(t *testing.T) {
	for name, dir := range map[string]string{"tmpfs": shmDir(t), "disk": newOptions(t).Dir} {
		t.Run(name, func(t *testing.T) {
			o := newOptions(t)
			o.Dir = dir
			h := mustCreate(t, "a", o)
			start, before := h.geometry.Sections.Data, allocated(t, h)
			if before != h.Committed() && name == "tmpfs" {
				t.Errorf("a new heap has %d bytes of storage and says %d", before, h.Committed())
			}
			if err := h.Commit(start, 8*granule); err != nil {
				t.Fatal(err)
			}
			committed := allocated(t, h)
			if committed < before+8*granule {
				t.Errorf("storage grew from %d to %d, want 8 granules", before, committed)
			}
			if err := h.Decommit(start+granule, 4*granule); err != nil {
				t.Fatal(err)
			}
			if after := allocated(t, h); after > committed-4*granule {
				t.Errorf("storage shrank from %d to %d, want 4 granules", committed, after)
			}
		})
	}
}

// TestCommitOnFullFileSystem: what does not fit is ErrNoSpace, takes nothing, and what was committed
// stays usable. An open heap of which only the tables have storage can be opened once more.
func TestCommitOnFullFileSystem(t *testing.T) {
	o := newOptions(t)
	o.Dir = filepath.Join(mount(t, "tmpfs", "size=16m"), "heaps")
	o.Size = 64 << 20
	h := mustCreate(t, "a", o)
	start, before := h.geometry.Sections.Data, allocated(t, h)
	wantError(t, "commit more than there is", h.Commit(start, 32<<20), ErrNoSpace)
	wantError(t, "commit just more than there is", h.Commit(start, 16<<20), ErrNoSpace)
	if after := allocated(t, h); after != before || h.Committed() != before {
		t.Errorf("storage of %d bytes, %d committed, want both as before: %d", after, h.Committed(), before)
	}
	n := uint64(0)
	for ; h.Commit(start+n, granule) == nil; n += granule {
		clear(h.memory.Bytes(start+n, granule))
	}
	if n < 8<<20 || n > 16<<20 {
		t.Errorf("%d bytes could be committed on a file system of 16 MiB", n)
	}
	fill(t, filepath.Join(o.Dir, "..", "rest"))
	tables := h.geometry.Sections
	clear(h.memory.Bytes(tables.Roots, tables.Peers-tables.Roots))      // no SIGBUS: tables have storage,
	clear(h.memory.Bytes(tables.Caches, granule-tables.Caches%granule)) // and so has the rest of their last granule
	openPeer(t, "a", o)
	if got := startPeer(t, o).do("create", "b"); got != "ErrNoSpace" {
		t.Errorf("create on a full file system: %s", got)
	}
	wantFiles(t, o.Dir, "a.heap")
	mustRemoveFile(t, filepath.Join(o.Dir, "..", "rest"))
	if err := h.Decommit(start, n); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(start, n); err != nil {
		t.Errorf("commit again what was decommitted: %v", err)
	}
}

// TestCheckDuringCommit: storage that comes and goes while a check looks is no damage, and storage that
// is missing is.
func TestCheckDuringCommit(t *testing.T) {
	t.Parallel()
	damages(t)
	o := newOptions(t)
	o.Dir, o.Size = shmDir(t), 64<<30 // a bitmap that takes a while to count
	h := mustCreate(t, "a", o)
	peers := make([]peer, 4)
	for i := range peers {
		peers[i] = openPeer(t, "a", o)
		peers[i].Tell(fmt.Sprintf("churn %d", 8*i))
	}
	for _, p := range peers {
		answer := ""
		for ; answer == ""; answer = p.Heard() {
			if err := h.Check().Err(); err != nil && !t.Failed() {
				t.Error(err)
			}
		}
		if answer != "ok" {
			t.Error(answer)
		}
	}
	h.setCommitted(h.geometry.Granules()-1, h.geometry.Granules())
	wantError(t, "check a granule without storage", h.Check().Err(), ErrCorrupt)
}

// TestFileSystemThatCannotAllocate: on ramfs the heap writes zeros instead.
func TestFileSystemThatCannotAllocate(t *testing.T) {
	o := newOptions(t)
	o.Dir = filepath.Join(mount(t, "ramfs", "mode=0700"), "heaps")
	h := mustCreate(t, "a", o)
	p := openPeer(t, "a", o)
	if h.canAllocate {
		t.Fatal("ramfs can allocate")
	}
	p.Tell("stamp 1")
	if err := stamp(h, 2); err != nil {
		t.Fatal(err)
	}
	p.Want("ok")
	for off := h.geometry.Sections.Data; off < h.Size(); off += granule {
		if one, two := h.memory.Word(off+8).Load(), h.memory.Word(off+16).Load(); one != 1 || two != 2 {
			t.Errorf("offset %#x: %d, %d", off, one, two)
		}
	}
	if err := h.Decommit(h.geometry.Sections.Data, granule); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(h.geometry.Sections.Data, granule); err != nil {
		t.Fatal(err)
	}
	if got := h.memory.Word(data(h, 1)).Load(); got != 0 {
		t.Errorf("a granule reads %d when it is committed again", got)
	}
}

// fill makes a file that takes what room there is.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
}

func mustRemoveFile(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// hugePages is the file that says how many huge pages the system keeps.
const hugePages = "/proc/sys/vm/nr_hugepages"

func readHugePages(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(hugePages)
	n, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	if err := errors.Join(err, err2); err != nil {
		shmtest.Skip(t, err.Error(), "run the tests on a kernel with CONFIG_HUGETLBFS")
	}
	return n
}

// takeHugePages makes the system keep n huge pages more until the test ends.
func takeHugePages(t testing.TB, n int) {
	t.Helper()
	had := readHugePages(t)
	write := func(n int) error { return os.WriteFile(hugePages, []byte(strconv.Itoa(n)), 0) }
	if err := write(had + n); err != nil || readHugePages(t) < had+n {
		_ = write(had)
		shmtest.Skip(t, "the system gives no huge pages", "run the tests as root with some memory to spare")
	}
	t.Cleanup(func() {
		if err := write(had); err != nil {
			t.Error(err)
		}
	})
}

// TestHugePages: a heap on hugetlbfs, whose files are whole huge pages.
func TestHugePages(t *testing.T) {
	mounted := mount(t, "hugetlbfs", "mode=0700")
	takeHugePages(t, 16)
	o := newOptions(t)
	o.Path = filepath.Join(mounted, "a.heap")
	h := mustCreate(t, "a", o)
	if h.Size()%(2<<20) != 0 || h.Size() < testSize {
		t.Errorf("size %d", h.Size())
	}
	start := h.geometry.Sections.Data
	if err := h.Commit(start, 4<<20); err != nil {
		t.Fatal(err)
	}
	h.memory.Word(start).Swap(5)
	p := openPeer(t, o.Path, o)
	if got := p.mustDo(t, "add", start, 1)[0]; got != "6" {
		t.Errorf("other process read %s", got)
	}
	if err := h.Decommit(start, 4<<20); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(start, granule); err != nil || h.memory.Word(start).Load() != 0 {
		t.Errorf("commit again: %v, reads %d", err, h.memory.Word(start).Load())
	}
	if err := h.Check().Err(); err != nil {
		t.Error(err)
	}
	p.mustDo(t, "close")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if infos, err := Stat(o.Path, nil); err != nil || infos.Peers != 0 {
		t.Errorf("%+v, %v", infos, err)
	}
	if err := Remove(o.Path, nil); err != nil {
		t.Fatal(err)
	}
}
