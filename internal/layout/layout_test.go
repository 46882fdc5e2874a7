package layout

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// TestFrozenFormat freezes the numbers of the format. A failure means that heaps made by other builds
// can no longer be opened: raise Version and change doc/format.md with it.
func TestFrozenFormat(t *testing.T) {
	if Version != 1 || Magic != 0x504145484d48531a || MagicAside != 0x454449534d48531a || ReadyValue != 0x1d5ead1e4ea90001 {
		t.Error("identification changed")
	}
	var s Superblock
	frozen(t, []number{
		{"Superblock", unsafe.Sizeof(s), 4096},
		{"Superblock.Magic", unsafe.Offsetof(s.Magic), 0},
		{"Superblock.Version", unsafe.Offsetof(s.Version), 8},
		{"Superblock.Size0", unsafe.Offsetof(s.Size0), 12},
		{"Superblock.Base", unsafe.Offsetof(s.Base), 16},
		{"Superblock.Size", unsafe.Offsetof(s.Size), 24},
		{"Superblock.PageSize", unsafe.Offsetof(s.PageSize), 32},
		{"Superblock.Granule", unsafe.Offsetof(s.Granule), 36},
		{"Superblock.MaxRoots", unsafe.Offsetof(s.MaxRoots), 40},
		{"Superblock.MaxPeers", unsafe.Offsetof(s.MaxPeers), 44},
		{"Superblock.MaxCaches", unsafe.Offsetof(s.MaxCaches), 48},
		{"Superblock.Classes", unsafe.Offsetof(s.Classes), 52},
		{"Superblock.ClassesSum", unsafe.Offsetof(s.ClassesSum), 56},
		{"Superblock.Created", unsafe.Offsetof(s.Created), 64},
		{"Superblock.CreatorPID", unsafe.Offsetof(s.CreatorPID), 72},
		{"Superblock.CreatorUID", unsafe.Offsetof(s.CreatorUID), 76},
		{"Superblock.ID", unsafe.Offsetof(s.ID), 80},
		{"Superblock.Name", unsafe.Offsetof(s.Name), 96},
		{"Superblock.Sections", unsafe.Offsetof(s.Sections), 160},
		{"Superblock.Backing", unsafe.Offsetof(s.Backing), 248},
		{"Superblock.Locator", unsafe.Offsetof(s.Locator), 264},
		{"Superblock.Checksum", unsafe.Offsetof(s.Checksum), 508},
		{"Superblock.Ready", unsafe.Offsetof(s.Ready), 512},
		{"Superblock.Frontier", unsafe.Offsetof(s.Frontier), 640},
		{"Superblock.SpanHint", unsafe.Offsetof(s.SpanHint), 768},
		{"Superblock.Orphans", unsafe.Offsetof(s.Orphans), 896},
		{"Superblock.Limit", unsafe.Offsetof(s.Limit), 1408},
		{"Superblock.ProfileRate", unsafe.Offsetof(s.ProfileRate), 1536},
		{"Superblock.Pressure", unsafe.Offsetof(s.Pressure), 1664},
	})
}

// TestFrozenTables freezes the entries of the tables.
func TestFrozenTables(t *testing.T) {
	var (
		se Sections
		r  Root
		p  Peer
		c  Cache
		k  Counters
		l  Large
		sa Samples
		si Site
	)
	frozen(t, []number{
		{"Sections", unsafe.Sizeof(se), 88},
		{"Sections.Committed", unsafe.Offsetof(se.Committed), 0},
		{"Sections.Roots", unsafe.Offsetof(se.Roots), 8},
		{"Sections.Peers", unsafe.Offsetof(se.Peers), 16},
		{"Sections.Caches", unsafe.Offsetof(se.Caches), 24},
		{"Sections.States", unsafe.Offsetof(se.States), 32},
		{"Sections.Busy", unsafe.Offsetof(se.Busy), 40},
		{"Sections.Hints", unsafe.Offsetof(se.Hints), 48},
		{"Sections.Slabs", unsafe.Offsetof(se.Slabs), 56},
		{"Sections.Fine", unsafe.Offsetof(se.Fine), 64},
		{"Sections.Sites", unsafe.Offsetof(se.Sites), 72},
		{"Sections.Data", unsafe.Offsetof(se.Data), 80},
	})
	frozen(t, []number{
		{"Root", unsafe.Sizeof(r), RootSize},
		{"Root.State", unsafe.Offsetof(r.State), 0},
		{"Root.Offset", unsafe.Offsetof(r.Offset), 8},
		{"Root.Type", unsafe.Offsetof(r.Type), 16},
		{"Root.Name", unsafe.Offsetof(r.Name), 24},
		{"Root.TypeName", unsafe.Offsetof(r.TypeName), 88},
		{"Peer", unsafe.Sizeof(p), PeerSize},
		{"Peer.State", unsafe.Offsetof(p.State), 0},
		{"Peer.PID", unsafe.Offsetof(p.PID), 8},
		{"Peer.UID", unsafe.Offsetof(p.UID), 12},
		{"Peer.Attached", unsafe.Offsetof(p.Attached), 16},
		{"Peer.Program", unsafe.Offsetof(p.Program), 24},
		{"Peer.Quota", unsafe.Offsetof(p.Quota), 56},
		{"Peer.Counts", unsafe.Offsetof(p.Counts), 64},
		{"Cache", unsafe.Sizeof(c), CacheSize},
		{"Cache.Owner", unsafe.Offsetof(c.Owner), 0},
		{"Cache.Intent", unsafe.Offsetof(c.Intent), 8},
		{"Cache.IntentWord", unsafe.Offsetof(c.IntentWord), 16},
		{"Cache.IntentOld", unsafe.Offsetof(c.IntentOld), 24},
		{"Cache.Counts", unsafe.Offsetof(c.Counts), 64},
		{"Counters", unsafe.Sizeof(k), 64},
		{"Counters.Allocs", unsafe.Offsetof(k.Allocs), 0},
		{"Counters.Bytes", unsafe.Offsetof(k.Bytes), 8},
		{"Counters.Refills", unsafe.Offsetof(k.Refills), 16},
		{"Counters.Remote", unsafe.Offsetof(k.Remote), 24},
		{"Counters.Collected", unsafe.Offsetof(k.Collected), 32},
		{"Counters.Balance", unsafe.Offsetof(k.Balance), 40},
		{"Counters.Large", unsafe.Offsetof(k.Large), 48},
		{"Counters.LargeFree", unsafe.Offsetof(k.LargeFree), 56},
		{"Large", unsafe.Sizeof(l), SlabSize},
		{"Large.Charged", unsafe.Offsetof(l.Charged), 0},
		{"Large.Sample", unsafe.Offsetof(l.Sample), 8},
		{"Samples", unsafe.Sizeof(sa), FineSize},
		{"Site", unsafe.Sizeof(si), SiteSize},
		{"Site.State", unsafe.Offsetof(si.State), 0},
		{"Site.Rate", unsafe.Offsetof(si.Rate), 8},
		{"Site.Length", unsafe.Offsetof(si.Length), 16},
		{"Site.Text", unsafe.Offsetof(si.Text), 24},
	})
}

// TestFrozenDescriptors freezes what describes a slab or an arena.
func TestFrozenDescriptors(t *testing.T) {
	var (
		b Slab
		f Fine
		a Arena
	)
	frozen(t, []number{
		{"Slab", unsafe.Sizeof(b), SlabSize},
		{"Slab.Local", unsafe.Offsetof(b.Local), 0},
		{"Slab.Published", unsafe.Offsetof(b.Published), 32},
		{"Slab.Remote", unsafe.Offsetof(b.Remote), 128},
		{"Fine", unsafe.Sizeof(f), FineSize},
		{"Fine.Published", unsafe.Offsetof(f.Published), 512},
		{"Fine.Remote", unsafe.Offsetof(f.Remote), 1024},
		{"Arena", unsafe.Sizeof(a), SlabSize},
		{"Arena.Head", unsafe.Offsetof(a.Head), 0},
		{"Arena.Next", unsafe.Offsetof(a.Next), 8},
		{"Arena.Used", unsafe.Offsetof(a.Used), 16},
		{"ClassesSum", uintptr(ClassesSum()), 545406869},
	})
}

// number is a size or an offset of the format.
type number struct {
	name      string
	got, want uintptr
}

func frozen(t *testing.T, numbers []number) {
	t.Helper()
	for _, n := range numbers {
		if n.got != n.want {
			t.Errorf("%s is at or of %d, want %d", n.name, n.got, n.want)
		}
	}
}

// TestFrozenGeometry freezes where the tables of a 1 GiB heap with the default lengths lie.
func TestFrozenGeometry(t *testing.T) {
	g, err := NewGeometry(1<<30, 256, 1024, 4096)
	if err != nil {
		t.Fatal(err)
	}
	want := Sections{
		Committed: 4096, Roots: 8192, Peers: 40960, Caches: 172032, States: 700416, Busy: 831488,
		Hints: 835584, Slabs: 966656, Fine: 5160960, Sites: 30326784, Data: 38731776,
	}
	if g.Sections != want {
		t.Errorf("sections are %+v, want %+v", g.Sections, want)
	}
}

func TestGeometryRefusesNonsense(t *testing.T) {
	for _, c := range []struct {
		size                 uint64
		roots, peers, caches uint32
	}{
		{0, 1, 1, 1}, {MinSize - GranuleSize, 1, 1, 1}, {MinSize + 1, 1, 1, 1}, {MaxSize + GranuleSize, 1, 1, 1},
		{1 << 30, 0, 1, 1}, {1 << 30, 1, 0, 1}, {1 << 30, 1, 1, 0}, {1 << 30, 1 << 31, 1, 1}, {1 << 30, 1, 1 << 31, 1},
		{1 << 30, 1, 1, MaxCaches}, {MinSize, 1 << 16, 1, 1},
	} {
		if _, err := NewGeometry(c.size, c.roots, c.peers, c.caches); err == nil {
			t.Errorf("NewGeometry(%d, %d, %d, %d) is accepted", c.size, c.roots, c.peers, c.caches)
		}
	}
}

// TestGeometrySections: tables lie in order, do not overlap and have room for every index.
func TestGeometrySections(t *testing.T) {
	for _, size := range []uint64{MinSize, 5 << 20, 64 << 20, 1 << 30, 1<<40 + GranuleSize, MaxSize} {
		g, err := NewGeometry(size, 1, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		n, s := g.Granules(), g.Sections
		ends := []struct{ off, need, next uint64 }{
			{s.Committed, BitmapSize(n), s.Roots}, {s.Roots, RootSize, s.Peers}, {s.Peers, PeerSize, s.Caches},
			{s.Caches, 2 * CacheSize, s.States}, {s.States, 8 * n, s.Busy}, {s.Busy, BitmapSize(n), s.Hints},
			{s.Hints, (n + ChunkGranules - 1) / ChunkGranules * ChunkHintSize, s.Slabs},
			{s.Slabs, n * SlabSize, s.Fine}, {s.Fine, n * FineSize, s.Sites}, {s.Sites, g.Sites() * SiteSize, s.Data}, {s.Data, minData * GranuleSize, size + 1},
		}
		for i, e := range ends {
			if e.off+e.need > e.next || e.off%PageSize != 0 {
				t.Errorf("size %d: section %d at %d needs %d, the next begins at %d", size, i, e.off, e.need, e.next)
			}
		}
	}
}

// TestNoStoredStructHoldsAGoPointer proves by reflection that nothing in the format is managed by Go.
func TestNoStoredStructHoldsAGoPointer(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				walk(path+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		case reflect.Array:
			walk(path+"[]", typ.Elem())
		case reflect.Uint8, reflect.Uint32, reflect.Uint64, reflect.Int64:
		default:
			t.Errorf("%s is a %s", path, typ)
		}
	}
	for _, v := range []any{Superblock{}, Sections{}, Root{}, Peer{}, Cache{}, Counters{}, Slab{}, Large{}, Samples{}, Site{}, Fine{}, Arena{}, Lease{}} {
		walk(reflect.TypeOf(v).Name(), reflect.TypeOf(v))
	}
}

func TestClasses(t *testing.T) {
	for i, c := range Classes {
		span := c.Granules * GranuleSize
		switch {
		case c.Size%16 != 0, c.Blocks*c.Size > span, (c.Blocks+1)*c.Size <= span, c.Blocks < slabMinimum:
			t.Errorf("class %d is %+v", i, c)
		case i > 0 && c.Size*4 > Classes[i-1].Size*5 && c.Size > 64:
			t.Errorf("class %d rounds up by more than a quarter: %d after %d", i, c.Size, Classes[i-1].Size)
		case c.Fine && c.Blocks > FineBlocks, !c.Fine && c.Blocks > CoarseBlocks, c.Fine && c.Granules != 1:
			t.Errorf("class %d has no room for its bitmap: %+v", i, c)
		}
		for off := range span {
			if got := uint32(uint64(off) * uint64(c.Recip) >> 32); got != off/c.Size {
				t.Fatalf("class %d: offset %d is in block %d, the reciprocal says %d", i, off, off/c.Size, got)
			}
		}
	}
	if last := Classes[NumClasses-1].Size; last != MaxSmall {
		t.Errorf("the largest class is %d", last)
	}
}

func TestClassOf(t *testing.T) {
	for size := uint64(0); size <= MaxSmall; size++ {
		c := ClassOf(size)
		if uint64(Classes[c].Size) < size || c > 0 && uint64(Classes[c-1].Size) >= size {
			t.Fatalf("ClassOf(%d) = %d of %d bytes", size, c, Classes[c].Size)
		}
	}
}

func TestStatePacks(t *testing.T) {
	s := MakeState(KindSlab, 39, 65535, 4)
	if s.Kind() != KindSlab || s.Class() != 39 || s.Cache() != 65535 || s.Run() != 4 || !s.Valid() {
		t.Errorf("state %#x", uint64(s))
	}
	if d := s.Disown(); d.Cache() != 0 || d.Own(65535) != s || !d.Valid() {
		t.Errorf("disowned state %#x", uint64(d))
	}
	for _, good := range []State{MakeState(KindArena, 0, 9, 1), MakeState(KindArena, 0, 0, 1), MakeState(KindChunk, 0, 0, 64)} {
		if !good.Valid() {
			t.Errorf("%#x is not valid", uint64(good))
		}
	}
	for _, bad := range []State{7, 15, 5, 6, MakeState(KindChunk, 0, 1, 1), 1, 2, 4, 1 << 32, 0x10, s + 1<<32, MakeState(KindSlab, 40, 0, 1), s | 1<<6, s | FlagPrivate | FlagSampled, MakeState(KindSlab, 3, 1, 1) | FlagSampled, s.Disown() | FlagPrivate, MakeState(KindTail, 1, 0, 1)} {
		if bad.Valid() {
			t.Errorf("%#x is valid", uint64(bad))
		}
	}
}

func TestDocumentedPadding(t *testing.T) {
	// Words of different writers are 128 bytes apart.
	typ := reflect.TypeOf(Superblock{})
	last := uintptr(0)
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Offset < ChecksummedSize || strings.HasPrefix(f.Name, "_") {
			continue
		}
		if last != 0 && f.Offset-last < 128 {
			t.Errorf("%s is %d bytes behind the word before it", f.Name, f.Offset-last)
		}
		last = f.Offset
	}
}

// TestFormatDocument compares the tables of fields in doc/format.md with the declarations.
func TestFormatDocument(t *testing.T) {
	doc, err := os.ReadFile("../../doc/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{Superblock{}, Root{}, Peer{}, Cache{}, Counters{}, Slab{}, Large{}, Samples{}, Site{}, Fine{}, Arena{}, Lease{}} {
		typ := reflect.TypeOf(v)
		_, section, found := strings.Cut(string(doc), "### "+typ.Name()+" fields\n")
		section, _, _ = strings.Cut(section, "\n## ")
		section, _, _ = strings.Cut(section, "\n### ")
		if !found {
			t.Errorf("no table of the fields of %s", typ.Name())
		}
		var rows int
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Name == "_" {
				continue
			}
			rows++
			if row := fmt.Sprintf("\n| %d | %d | %s | ", f.Offset, f.Type.Size(), f.Name); !strings.Contains(section, row) {
				t.Errorf("%s: the table has no row %q", typ.Name(), row)
			}
		}
		if got := strings.Count(section, "\n| ") - 1; got != rows {
			t.Errorf("%s: the table has %d rows, the declaration %d fields", typ.Name(), got, rows)
		}
	}
}

// TestBitRange: every bit of the range once, and no other.
func TestBitRange(t *testing.T) {
	for first := range uint64(130) {
		for end := first; end < 200; end++ {
			var bitmap [4]uint64
			for word, bits := range BitRange(first, end) {
				if bits == 0 || bitmap[word] != 0 {
					t.Fatalf("[%d, %d): word %d again, or without bits", first, end, word)
				}
				bitmap[word] = bits
			}
			for i := range uint64(256) {
				if got := bitmap[i/64]>>(i%64)&1 != 0; got != (i >= first && i < end) {
					t.Fatalf("[%d, %d): bit %d is %v", first, end, i, got)
				}
			}
		}
	}
}
