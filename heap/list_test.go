package heap

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// names returns the names of infos, with "!" behind those that have an error.
func names(infos []Info) []string {
	var all []string
	for _, i := range infos {
		if i.Err != nil {
			i.Name += "!"
		}
		all = append(all, i.Name)
	}
	return all
}

func wantList(t testing.TB, o *Options, want ...string) []Info {
	t.Helper()
	infos, err := List(o)
	if err != nil || !slices.Equal(names(infos), want) {
		t.Fatalf("list %q, %v, want %q", names(infos), err, want)
	}
	return infos
}

func TestList(t *testing.T) {
	o := newOptions(t)
	wantList(t, o)
	h := mustCreate(t, "beta", o)
	mustCreate(t, "alpha", o)
	startPeer(t, o).mustDo(t, "create", "gamma")
	for name, mode := range map[string]os.FileMode{"note.txt": 0o600, ".hidden.heap": 0o600, "-x.heap": 0o600, "heap": 0o600} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	infos := wantList(t, o, "alpha", "beta", "gamma")
	stat, err := Stat("beta", o)
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.Info()
	if err != nil || own != stat || infos[1] != stat {
		t.Errorf("three views of one heap:\n%+v\n%+v\n%+v", own, stat, infos[1])
	}
	if own.Base != h.Base() || own.Size != h.Size() || own.ID != h.ID() || own.Path != h.Path() || own.Version != layout.Version ||
		own.PageSize != uint32(os.Getpagesize()) || own.Peers != 1 || time.Since(own.Created) > time.Hour || own.Committed != h.Committed() {
		t.Errorf("info %+v", own)
	}
}

// TestListWithDamage: one heap that cannot be read does not hide the others.
func TestListWithDamage(t *testing.T) {
	o := newOptions(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		h := mustCreate(t, name, o)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	truncate(t, filepath.Join(o.Dir, "b.heap"), 100)
	scribble(t, filepath.Join(o.Dir, "c.heap"), 0, 0xff)
	if err := os.Chmod(filepath.Join(o.Dir, "d.heap"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(o.Dir, "e.heap"), 0o700); err != nil {
		t.Fatal(err)
	}
	infos := wantList(t, o, "a", "b!", "c!", "d!", "e!")
	wantError(t, "list a short file", infos[1].Err, ErrCorrupt)
	wantError(t, "list a file of something else", infos[2].Err, ErrCorrupt)
	wantError(t, "list a file that others may read", infos[3].Err, ErrInsecure)
	if infos[1].Path != filepath.Join(o.Dir, "b.heap") {
		t.Errorf("%+v", infos[1])
	}
	for _, name := range []string{"b", "c"} {
		if err := Remove(name, o); err != nil {
			t.Errorf("remove a damaged heap: %v", err)
		}
	}
	wantError(t, "remove a file that others may read", Remove("d", o), ErrInsecure)
	if err := Remove("e", o); err == nil {
		t.Error("removed a directory")
	}
	wantList(t, o, "a", "d!", "e!")
}

func truncate(t testing.TB, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

// scribble overwrites one byte of a file.
func scribble(t testing.TB, path string, off int64, value byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{value}, off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRemove(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	wantError(t, "remove while open here", Remove("a", o), ErrInUse)
	p := openPeer(t, "a", o)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "remove while open elsewhere", Remove("a", o), ErrInUse)
	wantError(t, "remove by path while open elsewhere", Remove(h.Path(), o), ErrInUse)
	p.Kill()
	if err := Remove("a", o); err != nil {
		t.Errorf("remove after the last peer died: %v", err)
	}
	wantFiles(t, o.Dir)
}

// TestRemoveForced: peers keep what they have, and the name is free for another heap.
func TestRemoveForced(t *testing.T) {
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	p := openPeer(t, "a", o)
	force := *o
	force.Force = true
	if err := Remove("a", &force); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(data(h, 0), 8); err != nil {
		t.Fatal(err)
	}
	h.memory.Word(data(h, 0)).Swap(1)
	if got := p.mustDo(t, "add", data(h, 0), 1)[0]; got != "2" {
		t.Errorf("peers of a removed heap: %s", got)
	}
	second := startPeer(t, o)
	second.mustDo(t, "create", "a")
	if got := second.mustDo(t, "peer")[0]; got != "1" {
		t.Errorf("peer %s in a heap of its own", got)
	}
	wantPeers(t, h, peerOf(os.Getpid(), 0, 1, true), peerOf(p.PID(), 1, 1, true))
}

// TestRemoveWhatIsNoHeap: a path given by mistake costs nothing.
func TestRemoveWhatIsNoHeap(t *testing.T) {
	o := newOptions(t)
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "short": "\x1aSHMHEAP", "long": string(make([]byte, 1<<20))} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		wantError(t, "remove "+name, Remove(path, o), ErrCorrupt)
		force := Options{Force: true}
		wantError(t, "remove by force "+name, Remove(path, &force), ErrCorrupt)
	}
	if err := Remove(dir+"/", o); err == nil {
		t.Error("removed a directory")
	}
	wantFiles(t, dir, "empty", "long", "short")

	o.Path = filepath.Join(dir, "heap")
	h := mustCreate(t, "a", o)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	scribble(t, o.Path, int64(layout.SuperblockSize)-1, 1)
	scribble(t, o.Path, 20, 1)
	if err := Remove(o.Path, nil); err != nil {
		t.Errorf("remove a damaged heap by path: %v", err)
	}
}

// TestListSweeps: what creators that died have left is taken away, and what live ones work on is not.
func TestListSweeps(t *testing.T) {
	o := newOptions(t)
	mustCreate(t, "a", o)
	dead, live := filepath.Join(o.Dir, ".b.heap.ABCDEFGH.new"), filepath.Join(o.Dir, ".c.heap.ABCDEFGH.new")
	for _, path := range []string{dead, live} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(live, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lockForTest(t, f, lockCreate)
	wantList(t, o, "a")
	wantFiles(t, o.Dir, filepath.Base(live), "a.heap")
	f.Close()
	wantList(t, o, "a")
	wantFiles(t, o.Dir, "a.heap")
}

// TestRaceToCreate: of the processes that want to create a heap one does.
func TestRaceToCreate(t *testing.T) {
	o := newOptions(t)
	peers := make([]peer, 4)
	for i := range peers {
		peers[i] = startPeer(t, o)
	}
	for range 10 {
		for _, p := range peers {
			p.Tell("create a")
		}
		answers := map[string]int{}
		var winner peer
		for _, p := range peers {
			answer := p.Hear()
			if answers[answer]++; answer == "ok" {
				winner = p
			}
		}
		if answers["ok"] != 1 || answers["ErrExist"] != len(peers)-1 {
			t.Fatalf("answers %v", answers)
		}
		wantList(t, o, "a")
		wantFiles(t, o.Dir, "a.heap")
		winner.mustDo(t, "close")
		if err := Remove("a", o); err != nil {
			t.Fatal(err)
		}
	}
}
