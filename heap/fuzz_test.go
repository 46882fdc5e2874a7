package heap

import (
	"os"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
)

// FuzzSuperblock parses any bytes as a superblock. What is accepted must be safe to rely on.
func FuzzSuperblock(f *testing.F) {
	good := goodSuperblock(f)
	f.Add(good, false)
	f.Add(good[:layout.ChecksummedSize], true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, bytes []byte, repair bool) {
		page := make([]byte, layout.SuperblockSize)
		copy(page, bytes)
		if repair { // what a checksum would refuse at once must be looked at more closely
			sb := mem.View[layout.Superblock](mem.Over(page), 0)
			if sb.Version = layout.Version; sb.Magic != layout.MagicAside {
				sb.Magic = layout.Magic
			}
			sb.Ready.Swap(layout.ReadyValue)
			setChecksum(page)
		}
		g, err := parseSuperblock(mem.Over(page))
		if err != nil {
			if !sound(err) {
				t.Errorf("error %v", err)
			}
			return
		}
		s := &g.Sections
		last := uint64(layout.SuperblockSize)
		for _, off := range []uint64{s.Committed, s.Roots, s.Peers, s.Caches, s.States, s.Busy, s.Hints, s.Slabs, s.Fine, s.Data, g.Size} {
			if off < last || off%layout.PageSize != 0 {
				t.Errorf("tables %+v in a region of %#x bytes", *s, g.Size)
			}
			last = off
		}
		if g.base == 0 || g.base%layout.GranuleSize != 0 || g.base+g.Size < g.base || checkName(g.name) != nil {
			t.Errorf("accepted %+v", g)
		}
	})
}

func goodSuperblock(f *testing.F) []byte {
	o := Options{Size: testSize, MaxPeers: 16, MaxRoots: 8, MaxCaches: 64}
	placed, err := o.newGeometry(0)
	if err != nil {
		f.Fatal(err)
	}
	page := make([]byte, layout.SuperblockSize)
	writeSuperblock(mem.Over(page), &geometry{Geometry: placed, base: 1 << 40, name: "a", pageSize: 4096}, layout.Magic, 0)
	return page
}

// FuzzTables writes any bytes over the tables of a live heap. Every method goes on answering.
func FuzzTables(f *testing.F) {
	o := newOptions(f)
	h, err := Create("a", o)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	if err := h.StoreRoot(Root{Name: "r", Offset: data(h, 0), TypeName: "T"}); err != nil {
		f.Fatal(err)
	}
	s := h.geometry.Sections
	for _, table := range []uint64{s.Committed, s.Roots, s.Peers} {
		f.Add(uint16(table-s.Committed), h.memory.Bytes(table, layout.RootSize))
	}
	good := append([]byte(nil), h.memory.Bytes(s.Committed, s.Caches-s.Committed)...)
	f.Fuzz(func(t *testing.T, off uint16, bytes []byte) {
		tables := h.memory.Bytes(s.Committed, s.Caches-s.Committed)
		copy(tables, good)
		if int(off) < len(tables) {
			copy(tables[off:], bytes)
		}
		h.Check()
		roots, _ := h.Roots()
		for _, r := range roots {
			h.LoadRoot(r.Name)
			h.StoreRoot(r)
		}
		h.LoadRoot("r")
		h.LoadOrStoreRoot(Root{Name: "new"})
		h.DeleteRoot("new")
		peers, _ := h.Peers()
		for _, p := range peers {
			h.Alive(p.ID)
		}
		h.Alive(PeerID(number(bytes)))
		if _, err := h.Info(); err != nil {
			t.Errorf("info: %v", err)
		}
		h.Committed()
		if _, err := Stat("a", o); err != nil {
			t.Errorf("stat: %v", err)
		}
		if info, err := os.Stat(h.Path()); err != nil || info.Size() != testSize {
			t.Errorf("file: %v, %v", info, err)
		}
	})
}
