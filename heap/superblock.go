package heap

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// geometry is this process's own copy of everything in the superblock that it relies on. The bytes in
// the region are not read again except to check them.
type geometry struct {
	layout.Geometry
	base     uint64
	name     string
	backing  string // Kernel.Kind of who keeps the region, "" for the file
	locator  string // by which it finds it
	id       [layout.IDSize]byte
	pageSize uint32
	created  time.Time
}

// writeSuperblock fills the first page of a new region, or of its side file. Nobody else can see the file yet,
// but a memfd may have been passed on already: the ready word is stored last.
func writeSuperblock(m mem.Memory, g *geometry, magic, limit uint64) {
	sb := mem.View[layout.Superblock](m, 0)
	*sb = layout.Superblock{
		Magic: magic, Version: layout.Version, Size0: layout.SuperblockSize,
		Base: g.base, Size: g.Size, PageSize: g.pageSize, Granule: layout.GranuleSize,
		MaxRoots: g.MaxRoots, MaxPeers: g.MaxPeers, MaxCaches: g.MaxCaches,
		Classes: layout.NumClasses, ClassesSum: layout.ClassesSum(),
		Created: g.created.UnixNano(), CreatorPID: uint32(os.Getpid()), CreatorUID: uint32(os.Getuid()),
		ID: g.id, Sections: g.Sections,
	}
	copy(sb.Name[:len(sb.Name)-1], g.name)
	copy(sb.Backing[:len(sb.Backing)-1], g.backing)
	copy(sb.Locator[:len(sb.Locator)-1], g.locator)
	sb.Checksum = checksum(m)
	sb.Limit.StoreRelease(limit)
	sb.Ready.StoreRelease(layout.ReadyValue)
}

func checksum(m mem.Memory) uint32 {
	covered := m.Bytes(0, layout.ChecksummedSize-4)
	return crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli))
}

// readSuperblock reads and validates the superblock of an open file without mapping it.
func readSuperblock(f *os.File) (geometry, error) {
	g, err := readGeometry(f)
	if err != nil {
		return g, err
	}
	st, err := sys.Stat(f)
	if err == nil && uint64(st.Size) < g.Size {
		err = fmt.Errorf("%w: file of %d bytes was cut, its region has %d", ErrCorrupt, st.Size, g.Size)
	}
	return g, err
}

// readGeometry reads a superblock until it holds, or is what it was: its creator, or SetBase, may write while it is read, and
// a read then returns some bytes of the old one and some of the new.
func readGeometry(f io.ReaderAt) (g geometry, err error) {
	page, last := make([]byte, layout.SuperblockSize), []byte(nil)
	for range 100 {
		switch _, err := f.ReadAt(page, 0); {
		case errors.Is(err, io.EOF):
			return geometry{}, fmt.Errorf("%w: file is shorter than a superblock", ErrCorrupt)
		case err != nil:
			return geometry{}, wrapOS(err)
		}
		g, err = parseFile(mem.Over(page))
		if err == nil || errors.Is(err, ErrNotReady) || bytes.Equal(page[:layout.ChecksummedSize], last) {
			break
		}
		last = append(last[:0], page[:layout.ChecksummedSize]...)
	}
	return g, err
}

// parseFile is parseSuperblock for what lies in a file: only a side file's has a backing.
func parseFile(m mem.Memory) (geometry, error) {
	g, err := parseSuperblock(m)
	if err == nil && (g.backing != "") != isAside(m) {
		err = fmt.Errorf("%w: superblock: backing %q in a file with magic %#x", ErrCorrupt, g.backing, mem.View[layout.Superblock](m, 0).Magic)
	}
	return g, err
}

// parseSuperblock validates a superblock and returns what it says. Any bytes are answered with a
// geometry that is safe to use or an error.
func parseSuperblock(m mem.Memory) (geometry, error) {
	ready := mem.View[layout.Superblock](m, 0).Ready.Load() // before the rest, which is there if this says so
	sb := *mem.View[layout.Superblock](m, 0)
	switch {
	case ready == 0 && sb.Magic == 0:
		return geometry{}, ErrNotReady
	case sb.Magic != layout.Magic && sb.Magic != layout.MagicAside:
		return geometry{}, fmt.Errorf("%w: no superblock: magic is %#x", ErrCorrupt, sb.Magic)
	case ready == 0 && sb.Version == 0:
		return geometry{}, ErrNotReady
	case sb.Version != layout.Version:
		return geometry{}, fmt.Errorf("%w: version %d, this program reads %d", ErrVersion, sb.Version, layout.Version)
	case ready == 0:
		return geometry{}, ErrNotReady
	case ready != layout.ReadyValue:
		return geometry{}, fmt.Errorf("%w: ready word is %#x", ErrCorrupt, ready)
	case sb.Checksum != checksum(m):
		return geometry{}, fmt.Errorf("%w: checksum of the superblock is %#x, not %#x", ErrCorrupt, checksum(m), sb.Checksum)
	}
	return geometryOf(&sb)
}

// geometryOf checks the fields of a superblock whose checksum is right: a damaged program may have
// computed it.
func geometryOf(sb *layout.Superblock) (geometry, error) {
	placed, err := layout.NewGeometry(sb.Size, sb.MaxRoots, sb.MaxPeers, sb.MaxCaches)
	name, terminated := cutName(sb.Name[:])
	backing, locator, known := backingOf(sb)
	switch {
	case err != nil:
		return geometry{}, fmt.Errorf("%w: superblock: %w", ErrCorrupt, err)
	case placed.Sections != sb.Sections:
		return geometry{}, fmt.Errorf("%w: superblock: sections are not where the sizes put them", ErrCorrupt)
	case sb.Size0 != layout.SuperblockSize || sb.Granule != layout.GranuleSize:
		return geometry{}, fmt.Errorf("%w: superblock of %d bytes, granules of %d", ErrCorrupt, sb.Size0, sb.Granule)
	case sb.Classes != layout.NumClasses || sb.ClassesSum != layout.ClassesSum():
		return geometry{}, fmt.Errorf("%w: other size classes", ErrVersion)
	case sb.Base == 0 || sb.Base%layout.GranuleSize != 0 || sb.Base+sb.Size < sb.Base:
		return geometry{}, fmt.Errorf("%w: superblock: base %#x", ErrCorrupt, sb.Base)
	case !terminated || checkName(name) != nil:
		return geometry{}, fmt.Errorf("%w: superblock: name %q", ErrCorrupt, name)
	case !known:
		return geometry{}, fmt.Errorf("%w: superblock: backing %q at %q", ErrCorrupt, backing, locator)
	}
	return geometry{
		Geometry: placed, base: sb.Base, name: name, id: sb.ID, backing: backing, locator: locator,
		pageSize: sb.PageSize, created: time.Unix(0, sb.Created),
	}, nil
}

// cutName returns the bytes in front of the first zero, and whether there is one.
func cutName(b []byte) (string, bool) {
	name, _, found := bytes.Cut(b, []byte{0})
	return strings.ToValidUTF8(string(name), "?"), found
}

func newID() (id [layout.IDSize]byte) {
	rand.Read(id[:]) // never fails
	return id
}

// checkName accepts what is one harmless file name everywhere.
func checkName(name string) error {
	if name == "" || len(name) >= layout.NameSize-len(suffix) || name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("%w %q: want 1 to %d characters, not beginning with . or -", ErrName, name, layout.NameSize-len(suffix)-1)
	}
	for _, c := range []byte(name) {
		if !isNameByte(c) {
			return fmt.Errorf("%w %q: want letters, digits, . _ -", ErrName, name)
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
