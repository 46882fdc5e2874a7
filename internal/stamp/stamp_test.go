package stamp

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// program returns an ELF file with these program headers and some bytes behind them.
func program(kind elf.Type, entries ...elf.Prog64) []byte {
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(kind), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: headerSize, Ehsize: headerSize, Phentsize: entrySize, Phnum: uint16(len(entries)), Shentsize: 64,
	}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h)
	_ = binary.Write(&b, binary.LittleEndian, entries)
	b.WriteString(strings.Repeat("the rest of the file ", 1000))
	return b.Bytes()
}

func load(vaddr, size uint64) elf.Prog64 {
	return elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: vaddr, Paddr: vaddr,
		Filesz: 512, Memsz: size, Align: 4096,
	}
}

func other(kind elf.ProgType) elf.Prog64 {
	return elf.Prog64{Type: uint32(kind), Flags: uint32(elf.PF_R)}
}

// common is what linkers make of a small program.
func common() []byte {
	return program(elf.ET_EXEC, other(elf.PT_PHDR), other(elf.PT_NOTE), load(0x400000, 0x1000), load(0x402000, 0x900),
		other(elf.PT_NOTE), other(elf.PT_TLS))
}

var (
	low  = Range{0x5500_0000_0000, 1 << 30}
	high = Range{0x5500_8000_0000, 1 << 40}
)

// file returns an open file with this content.
func file(t testing.TB, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestCopy(t *testing.T) {
	for _, ranges := range [][]Range{{low}, {low, high}, {high, low}, {low, low}} {
		before := common()
		to := file(t, nil)
		if err := Copy(to, file(t, before), ranges...); err != nil {
			t.Fatal(err)
		}
		got, err := Ranges(to)
		if err != nil || !slices.IsSortedFunc(got, func(a, b Range) int { return int(a.Base>>16) - int(b.Base>>16) }) {
			t.Errorf("stamps %v, %v", got, err)
		}
		for _, r := range ranges {
			if !slices.Contains(got, r) {
				t.Errorf("no %v in %v", r, got)
			}
		}
		checkRest(t, before, to, len(got))
	}
}

// checkRest compares all but the stamps and the notes that made room for them.
func checkRest(t *testing.T, before []byte, stamped *os.File, stamps int) {
	t.Helper()
	after, err := os.ReadFile(stamped.Name())
	if err != nil || len(after) != len(before) {
		t.Fatalf("%d bytes, want %d; %v", len(after), len(before), err)
	}
	old, err1 := read(bytes.NewReader(before))
	fresh, err2 := read(bytes.NewReader(after))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	end := headerSize + len(old.table())
	if old.header != fresh.header || !bytes.Equal(before[end:], after[end:]) {
		t.Error("something outside the table of program headers changed")
	}
	isNote := hasType(elf.PT_NOTE)
	kept := slices.DeleteFunc(slices.Clone(fresh.entries), func(p elf.Prog64) bool { return isStamp(p) || isNote(p) })
	want := slices.DeleteFunc(slices.Clone(old.entries), isNote)
	if !slices.Equal(kept, want) {
		t.Errorf("program headers %v, want %v", kept, want)
	}
	if notes := len(old.entries) - len(want); len(fresh.entries)-len(kept) != notes || stamps > notes {
		t.Errorf("%d stamps and notes, want %d", len(fresh.entries)-len(kept), notes)
	}
	for _, p := range fresh.entries {
		if isStamp(p) && (p.Off < uint64(len(before)) || p.Off%unit != p.Vaddr%unit) {
			t.Errorf("offset %#x in a file of %d bytes", p.Off, len(before))
		}
	}
}

func TestUnsuitable(t *testing.T) {
	short := common()[:100]
	small := common()
	small[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	big := common()
	big[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	note, text := other(elf.PT_NOTE), load(0x400000, 0x1000)
	for want, content := range map[string][]byte{
		"no ELF file":                []byte("#!/bin/sh\n" + strings.Repeat(" ", 100)),
		"no complete ELF":            short,
		"no 64-bit little-endian":    small,
		"no 64-bit little-endian pr": big,
		"position-independent":       program(elf.ET_DYN, other(elf.PT_INTERP), text, note),
		"static PIE":                 program(elf.ET_DYN, text, note),
		"no executable":              program(elf.ET_REL, note),
		"no segments":                program(elf.ET_EXEC, note),
		"no note left":               program(elf.ET_EXEC, text),
		"lies at [0x550000000000":    program(elf.ET_EXEC, text, load(low.Base, 1), note),
		"lies at [0x5500ffff0000":    program(elf.ET_EXEC, text, load(high.End()-high.Size+0x7fff_0000, 0x1_0000), note),
		"above":                      program(elf.ET_EXEC, load(1<<46, 1), note),
		"odd table":                  program(elf.ET_EXEC),
	} {
		ranges := []Range{low}
		if strings.Contains(want, "5500ffff") {
			ranges = []Range{high}
		}
		if want == "above" {
			ranges = []Range{{1 << 32, unit}}
		}
		err := Check(file(t, content), ranges...)
		if !errors.Is(err, ErrUnsuitable) || !strings.Contains(err.Error(), want[:min(len(want), 23)]) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestBadRanges(t *testing.T) {
	if err := Check(file(t, common()), Range{1 << 48, unit}); !errors.Is(err, ErrUnsuitable) || !strings.Contains(err.Error(), "brk") {
		t.Errorf("above the default addresses: %v", err)
	}
	for _, r := range []Range{{}, {low.Base, 0}, {0, unit}, {low.Base + 1, unit}, {low.Base, unit + 1}, {1<<64 - unit, 2 * unit}, {1 << 57, unit}} {
		if err := Check(file(t, common()), r); err == nil {
			t.Errorf("%v was taken", r)
		}
	}
}

// TestStampedAgain: a stamp stays, and none may overlap it.
func TestStampedAgain(t *testing.T) {
	once, twice := file(t, nil), file(t, nil)
	if err := Copy(once, file(t, common()), low); err != nil {
		t.Fatal(err)
	}
	if err := Copy(twice, once, low, high); err != nil {
		t.Fatal(err)
	}
	if got, err := Ranges(twice); err != nil || !slices.Equal(got, []Range{low, high}) {
		t.Errorf("%v, %v", got, err)
	}
	if err := Check(once, Range{low.Base, 2 * low.Size}); !errors.Is(err, ErrUnsuitable) || !strings.Contains(err.Error(), "already") {
		t.Errorf("%v", err)
	}
}

// FuzzStamp: whatever a file holds, it is refused or stamped, and the stamped one reads back.
func FuzzStamp(f *testing.F) {
	short := func(content []byte) []byte { return content[:512] }
	f.Add(short(common()), low.Base, low.Size)
	f.Add(short(program(elf.ET_DYN, load(0, 1))), high.Base, high.Size)
	f.Fuzz(func(t *testing.T, content []byte, base, size uint64) {
		r := Range{base, size}
		i, err := planOf(bytes.NewReader(content), uint64(len(content)), []Range{r})
		if err != nil {
			return
		}
		stamped := slices.Clone(content)
		copy(stamped[i.header.Phoff:], i.table())
		if got, err := Ranges(bytes.NewReader(stamped)); err != nil || !slices.Contains(got, r) {
			t.Errorf("%v: stamps %v, %v", r, got, err)
		}
	})
}
