//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"bytes"
	"crypto/sha256"
	"os"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

const pageSize = 4096

// image is what a heap's file held between two instructions: what SIGKILL leaves behind.
type image struct {
	size  uint64
	pages map[uint64][]byte // those that are not zero, by offset
	sum   [sha256.Size]byte

	first int    // how many instructions led to it
	count int    // at how many places between two instructions it was there
	place string // of the instruction that made it
}

// takeImage reads the file of a heap.
func takeImage(t testing.TB, path string) *image {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	im := &image{size: uint64(len(content)), pages: make(map[uint64][]byte)}
	zero := make([]byte, pageSize)
	h := sha256.New()
	for off := uint64(0); off < im.size; off += pageSize {
		page := content[off:min(off+pageSize, im.size)]
		if !bytes.Equal(page, zero[:len(page)]) {
			im.pages[off] = page
			h.Write([]byte{byte(off >> 12), byte(off >> 20), byte(off >> 28)})
			h.Write(page)
		}
	}
	h.Sum(im.sum[:0])
	return im
}

// restore makes a heap's file of the image. As the committed bitmap promises, the granules in it have
// storage.
func (im *image) restore(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Truncate(int64(im.size))
	}
	for off, page := range im.pages {
		if err == nil {
			_, err = f.WriteAt(page, int64(off))
		}
	}
	for g := range im.size >> layout.GranuleShift {
		if err == nil && im.isCommitted(g) {
			err = sys.Allocate(f, int64(g<<layout.GranuleShift), layout.GranuleSize)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (im *image) isCommitted(g uint64) bool {
	super := mem.View[layout.Superblock](mem.Over(im.pages[0]), 0)
	at := super.Sections.Committed + g/8
	page := im.pages[at&^(pageSize-1)]
	return page != nil && page[at%pageSize]>>(g%8)&1 != 0
}

// watcher sees when the tables of a heap, or the granules that its roots lead to, change.
type watcher struct {
	base    uint64
	size    uint64
	watched []watched
}

// places is where things are in a heap, and who is alive there.
type places struct {
	geometry layout.Geometry
	roots    []uint64 // the ledger, and what belongs to a queue
	host     heap.PeerID
}

type watched struct {
	now  []byte
	last []byte
}

// newWatcher maps the file a second time, at any address.
func newWatcher(t testing.TB, path string, at *places) *watcher {
	t.Helper()
	w := &watcher{size: at.geometry.Size}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if w.base, err = sys.ReserveHint(0, w.size); err != nil {
		t.Fatal(err)
	}
	p, err := sys.MapFile(f, w.base, w.size, true)
	if err != nil {
		t.Fatal(err)
	}
	memory := mem.At(p, w.size)
	ranges := [][2]uint64{{0, at.geometry.Sections.Data}}
	for _, off := range at.roots {
		ranges = append(ranges, [2]uint64{off &^ (layout.GranuleSize - 1), layout.GranuleSize})
	}
	for _, r := range ranges {
		now := memory.Bytes(r[0], r[1])
		w.watched = append(w.watched, watched{now, bytes.Clone(now)})
	}
	return w
}

func (w *watcher) close(t testing.TB) {
	t.Helper()
	if err := sys.Unmap(w.base, w.size); err != nil {
		t.Error(err)
	}
}

// changed reports whether something is different from what it was at the last call.
func (w *watcher) changed() (yes bool) {
	for _, r := range w.watched {
		if !bytes.Equal(r.now, r.last) {
			copy(r.last, r.now)
			yes = true
		}
	}
	return yes
}
