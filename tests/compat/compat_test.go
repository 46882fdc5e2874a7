package compat

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"structs"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
	"github.com/shmheap/shmheap/queue"
)

// Node is what the root "list" of a fixture leads to.
type Node struct {
	_ structs.HostLayout

	Next  *Node
	Value uint64
	Text  alloc.String
}

// current is the version of the format that this release makes.
func current(t *testing.T) uint32 {
	t.Helper()
	h, err := heap.Create("current", &heap.Options{Path: filepath.Join(t.TempDir(), "current.heap"), Size: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	info, err := h.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Version
}

// unpack returns the bytes of a fixture.
func unpack(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// restore writes a fixture to a file. Zeros are written too: a hole where the heap has storage would be damage.
func restore(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fixture.heap")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFixtures: there is a heap of this version, which is good, and all others are refused.
func TestFixtures(t *testing.T) {
	now := current(t)
	fixtures, err := filepath.Glob("testdata/v*.heap.gz")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, name := range fixtures {
		var version uint32
		if _, err := fmt.Sscanf(filepath.Base(name), "v%d.heap.gz", &version); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found = found || version == now
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			path := restore(t, unpack(t, name))
			if version == now {
				wantGood(t, path)
			} else {
				wantRefused(t, path, version, now)
			}
		})
	}
	if !found {
		t.Errorf("no heap of version %d among %v: go run ./tests/compat/generate tests/compat/testdata", now, fixtures)
	}
}

// wantGood: what was put in is there, and work can go on.
func wantGood(t *testing.T, path string) {
	t.Helper()
	h, err := heap.Open(path, nil)
	if errors.Is(err, probe.ErrBeyond) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	first, err := alloc.LoadRoot[Node](a, "list")
	if err != nil {
		t.Fatal(err)
	}
	value := uint64(100)
	for n := first; n != nil; n = n.Next {
		value--
		if n.Value != value || n.Text.String() != fmt.Sprint("number ", value) {
			t.Fatalf("node %d holds %d, %q", value, n.Value, n.Text.String())
		}
	}
	if value != 0 {
		t.Errorf("%d nodes are missing", value)
	}
	before := wantStats(t, a, 202) // nodes and texts, the slice, the queue
	if offsets := drain(t, a); len(offsets) != 3 {
		t.Errorf("queue holds %x", offsets)
	}
	for n := first; n != nil; {
		next := n.Next
		if err := errors.Join(n.Text.Free(a), alloc.Delete(a, n)); err != nil {
			t.Fatal(err)
		}
		n = next
	}
	wantStats(t, a, before-200)
	if err := a.Check().Err(); err != nil {
		t.Error(err)
	}
}

func wantStats(t *testing.T, a *alloc.Allocator, live uint64) uint64 {
	t.Helper()
	s, err := a.Stats()
	if err != nil || s.Live != live {
		t.Errorf("%d blocks are in use, want %d, %v", s.Live, live, err)
	}
	return s.Live
}

func drain(t *testing.T, a *alloc.Allocator) (offsets []uint64) {
	t.Helper()
	q, err := queue.Open(a, "queue", nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := q.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		off, err := c.TryPop()
		if err != nil {
			return offsets
		}
		offsets = append(offsets, off)
	}
}

// wantRefused: every way to the heap says which version it has, and which this program reads. It can be removed.
func wantRefused(t *testing.T, path string, version, now uint32) {
	t.Helper()
	want := fmt.Sprintf("heap has another format version: version %d, this program reads %d", version, now)
	for what, open := range map[string]func() error{
		"open": func() error { _, err := heap.Open(path, nil); return err },
		"read": func() error { _, err := heap.OpenReadOnly(path, nil); return err },
		"stat": func() error { _, err := heap.Stat(path, nil); return err },
		"move": func() error { _, err := heap.OpenOffline(path, nil); return err },
	} {
		if err := open(); !errors.Is(err, heap.ErrVersion) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	if err := heap.Remove(path, nil); err != nil {
		t.Error(err)
	}
}

// Places in the superblock, as doc/format.md has them.
const (
	versionAt  = 8
	checksumAt = 508
)

// sealed returns a copy of the fixture with a change, and the checksum that belongs to it.
func sealed(data []byte, change func([]byte)) []byte {
	data = bytes.Clone(data)
	change(data)
	sum := crc32.Checksum(data[:checksumAt], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(data[checksumAt:], sum)
	return data
}

// TestOtherVersions: versions before and behind this one are refused as such, whatever else they changed.
func TestOtherVersions(t *testing.T) {
	now := current(t)
	data := unpack(t, fmt.Sprintf("testdata/v%d.heap.gz", now))
	for _, version := range []uint32{0, now - 1, now + 1, 1 << 31} {
		if version == now {
			continue
		}
		set := func(b []byte) { binary.LittleEndian.PutUint32(b[versionAt:], version) }
		wantRefused(t, restore(t, sealed(data, set)), version, now)
		set(data) // another format may keep its checksum elsewhere
		wantRefused(t, restore(t, data), version, now)
	}
}

// TestDamagedSuperblocks: a bit that has flipped anywhere in what is checked is found before anything is mapped, and so
// is a file that was cut.
func TestDamagedSuperblocks(t *testing.T) {
	data := unpack(t, fmt.Sprintf("testdata/v%d.heap.gz", current(t)))
	path := restore(t, data)
	for at := range checksumAt + 12 { // up to the end of the ready word
		damage(t, path, int64(at), data[at]^byte(1<<(at%8)))
		h, err := heap.Open(path, nil)
		if !errors.Is(err, heap.ErrCorrupt) && !errors.Is(err, heap.ErrVersion) && !errors.Is(err, heap.ErrNotReady) {
			t.Errorf("byte %d damaged: %v", at, err)
		}
		if err == nil {
			h.Close()
		}
		damage(t, path, int64(at), data[at])
	}
	wantGood(t, path)
	for _, size := range []int64{0, 1, 511, 4095, 4096, int64(len(data)) / 2, int64(len(data)) - 1} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := heap.Open(path, nil); !errors.Is(err, heap.ErrCorrupt) && !errors.Is(err, heap.ErrNotReady) {
			t.Errorf("file of %d bytes: %v", size, err)
		}
	}
}

func damage(t *testing.T, path string, at int64, b byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b}, at); err != nil {
		t.Fatal(err)
	}
}
