package heap

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/probe"
)

// seedVariable replays a random test.
const seedVariable = "HEAP_TEST_SEED"

// seeded returns a random source. A failing test prints how to get the same one again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: %s=%d go test -run '^%s$' ./heap", seedVariable, seed, t.Name())
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// damaged is the superblock of a heap that nobody has open, to be changed.
type damaged struct {
	t    *testing.T
	o    *Options
	path string
	good []byte
}

func newDamaged(t *testing.T) *damaged {
	t.Helper()
	o := newOptions(t)
	h := mustCreate(t, "a", o)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	d := &damaged{t: t, o: o, path: h.Path(), good: make([]byte, layout.SuperblockSize)}
	f, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ReadAt(d.good, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return d
}

// open opens the heap with this superblock, and closes it if it could be opened.
func (d *damaged) open(page []byte) error {
	d.t.Helper()
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	_, err = f.WriteAt(page, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		d.t.Fatal(err)
	}
	if _, err := Stat("a", d.o); err != nil && !sound(err) {
		d.t.Errorf("stat: %v", err)
	}
	h, err := Open("a", d.o)
	if err == nil {
		h.Check()
		err = h.Close()
	}
	return err
}

// sound reports whether err is one that a damaged superblock may lead to.
func sound(err error) bool {
	return slices.ContainsFunc([]error{
		ErrCorrupt, ErrVersion, ErrNotReady, probe.ErrTaken, probe.ErrBeyond, probe.ErrRefused,
		probe.ErrUnaligned, probe.ErrNoMemory, probe.ErrAddressLimit, probe.ErrMapCount,
	}, func(target error) bool { return errors.Is(err, target) })
}

// field is one number, or the first bytes of an array, in the superblock.
type field struct {
	name      string
	off, size uintptr
}

// fieldsOf lists the fields of a structure, those of structures inside it too.
func fieldsOf(prefix string, kind reflect.Type, at uintptr) (all []field) {
	for i := range kind.NumField() {
		f := kind.Field(i)
		switch {
		case f.Type == reflect.TypeFor[layout.Sections]():
			all = append(all, fieldsOf(f.Name+".", f.Type, at+f.Offset)...)
		case f.Type.Size() > 0:
			all = append(all, field{prefix + f.Name, at + f.Offset, min(f.Type.Size(), 8)})
		}
	}
	return all
}

// values returns what to put in place of old.
func values(r *rand.Rand, old uint64, size uintptr) []uint64 {
	return []uint64{0, ^uint64(0), old + 1, old - 1, old << 1, old + layout.GranuleSize, 1 << (8*size - 1), r.Uint64(), r.Uint64() << 16}
}

// harmless are fields that are not relied on, or may be changed by any peer.
var harmless = []string{
	"_", "PageSize", "Created", "CreatorPID", "CreatorUID", "ID", "Frontier", "SpanHint", "Orphans", "Limit", "ProfileRate", "Pressure",
	// These change what they say, and hold together with the rest: another base or name is another
	// heap, and some more or fewer roots fit the same tables.
	"Base", "Name", "MaxRoots", "MaxPeers", "MaxCaches",
}

// TestDamagedSuperblock puts other values into every field, with a checksum that is wrong then, and
// with one that a program out of control has computed.
func TestDamagedSuperblock(t *testing.T) {
	d, r := newDamaged(t), seeded(t)
	fields := fieldsOf("", reflect.TypeFor[layout.Superblock](), 0)
	if len(fields) < 30 {
		t.Fatalf("fields %v", fields)
	}
	for _, f := range fields {
		old := number(d.good[f.off : f.off+f.size])
		for _, value := range values(r, old, f.size) {
			for _, recompute := range []bool{false, true} {
				page := slices.Clone(d.good)
				setNumber(page[f.off:f.off+f.size], value)
				if number(page[f.off:f.off+f.size]) == old {
					continue
				}
				if recompute {
					setChecksum(page)
				}
				d.judge(f, value, recompute, d.open(page))
			}
		}
	}
	if err := d.open(d.good); err != nil {
		t.Errorf("the good superblock: %v", err)
	}
}

func (d *damaged) judge(f field, value uint64, recomputed bool, err error) {
	d.t.Helper()
	summed := f.off < layout.ChecksummedSize
	switch {
	case err != nil && !sound(err):
		d.t.Errorf("%s = %#x: error %v", f.name, value, err)
	case err == nil && summed && !recomputed:
		d.t.Errorf("%s = %#x with a wrong checksum was opened", f.name, value)
	case err == nil && !slices.Contains(harmless, f.name) && f.name != "Checksum":
		d.t.Errorf("%s = %#x was opened", f.name, value)
	}
}

func number(b []byte) uint64 {
	var all [8]byte
	copy(all[:], b)
	return binary.LittleEndian.Uint64(all[:])
}

func setNumber(b []byte, v uint64) {
	copy(b, binary.LittleEndian.AppendUint64(nil, v))
}

// setChecksum makes the checksum of a superblock right.
func setChecksum(page []byte) {
	mem.View[layout.Superblock](mem.Over(page), 0).Checksum = checksum(mem.Over(page))
}

// TestWhatDamageIsCalled: each kind has its error.
func TestWhatDamageIsCalled(t *testing.T) {
	d := newDamaged(t)
	for what, c := range map[string]struct {
		change func(*layout.Superblock)
		want   error
	}{
		"not ready":          {func(sb *layout.Superblock) { sb.Ready.Swap(0) }, ErrNotReady},
		"nothing yet":        {func(sb *layout.Superblock) { *sb = layout.Superblock{} }, ErrNotReady},
		"magic":              {func(sb *layout.Superblock) { sb.Magic++ }, ErrCorrupt},
		"newer version":      {func(sb *layout.Superblock) { sb.Version++ }, ErrVersion},
		"other size classes": {func(sb *layout.Superblock) { sb.ClassesSum++ }, ErrVersion},
		"cut file":           {func(sb *layout.Superblock) { enlarge(t, sb) }, ErrCorrupt},
		"name with a slash":  {func(sb *layout.Superblock) { sb.Name[0] = '/' }, ErrCorrupt},
		"name without end":   {func(sb *layout.Superblock) { copy(sb.Name[:], strings.Repeat("a", layout.NameSize)) }, ErrCorrupt},
		"base at the end":    {func(sb *layout.Superblock) { sb.Base = 1<<64 - layout.GranuleSize }, ErrCorrupt},
		"base of the kernel": {func(sb *layout.Superblock) { sb.Base = 1<<63 + sb.Base }, probe.ErrBeyond},
	} {
		page := slices.Clone(d.good)
		c.change(mem.View[layout.Superblock](mem.Over(page), 0))
		setChecksum(page)
		wantError(t, what, d.open(page), c.want)
	}
}

// enlarge makes a superblock that fits a file twice as large.
func enlarge(t *testing.T, sb *layout.Superblock) {
	g, err := layout.NewGeometry(2*sb.Size, sb.MaxRoots, sb.MaxPeers, sb.MaxCaches)
	if err != nil {
		t.Fatal(err)
	}
	sb.Size, sb.Sections = g.Size, g.Sections
}

// TestBaseOfSomethingElse: a superblock that leads to where this program lives replaces nothing.
func TestBaseOfSomethingElse(t *testing.T) {
	d := newDamaged(t)
	mappings, err := probe.Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mappings {
		page := slices.Clone(d.good)
		sb := mem.View[layout.Superblock](mem.Over(page), 0)
		if sb.Base = m.Start &^ (layout.GranuleSize - 1); sb.Base == 0 {
			continue
		}
		setChecksum(page)
		if err := d.open(page); err == nil || !sound(err) {
			t.Errorf("base %#x, where %v is: %v", sb.Base, m, err)
		}
	}
}

// TestCutFile: a file that is too short is not opened.
func TestCutFile(t *testing.T) {
	d := newDamaged(t)
	for _, n := range []int64{testSize - 1, testSize - layout.GranuleSize, layout.SuperblockSize, layout.SuperblockSize - 1, 1, 0} {
		truncate(t, d.path, n)
		_, err := Open("a", d.o)
		wantError(t, "open", err, ErrCorrupt)
		_, err = Stat("a", d.o)
		wantError(t, "stat", err, ErrCorrupt)
	}
	if err := Remove("a", d.o); err != nil {
		t.Errorf("remove: %v", err)
	}
}

// TestFileCutWhileOpen: Check says so and does not touch what is gone.
func TestFileCutWhileOpen(t *testing.T) {
	for _, n := range []int64{testSize - layout.GranuleSize, layout.GranuleSize, 2 * layout.SuperblockSize, layout.SuperblockSize, 1, 0} {
		o := newOptions(t)
		p := startPeer(t, o)
		p.mustDo(t, "create", "a")
		p.mustDo(t, "check")
		truncate(t, filepath.Join(o.Dir, "a.heap"), n)
		if got := p.do("check"); got != "ErrCorrupt" {
			t.Errorf("file cut to %d bytes: %s", n, got)
		}
	}
}

// TestSuperblockChangedWhileOpen: Check says so.
func TestSuperblockChangedWhileOpen(t *testing.T) {
	damages(t)
	h := mustCreate(t, "a", newOptions(t))
	for what, change := range map[string]func(sb *layout.Superblock){
		"base":     func(sb *layout.Superblock) { sb.Base ^= 1 << 40 },
		"ready":    func(sb *layout.Superblock) { sb.Ready.Swap(0) },
		"id":       func(sb *layout.Superblock) { sb.ID[0]++; setChecksum(h.memory.Bytes(0, layout.SuperblockSize)) },
		"frontier": func(sb *layout.Superblock) { sb.Frontier.Swap(h.geometry.Granules() + 1) },
	} {
		good := *h.super
		change(h.super)
		wantError(t, what, h.Check().Err(), ErrCorrupt)
		*h.super = good
	}
	if err := h.Check().Err(); err != nil {
		t.Error(err)
	}
}
