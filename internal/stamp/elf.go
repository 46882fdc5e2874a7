package stamp

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrUnsuitable is wrapped by errors that say why a file cannot be stamped.
var ErrUnsuitable = errors.New("cannot be stamped")

const (
	unit   = 64 << 10 // of bases and sizes; the largest page size
	offset = 1 << 20  // stamps begin at multiples of this in the file
)

// Range is a range of addresses.
type Range struct{ Base, Size uint64 }

// End returns the address behind the range.
func (r Range) End() uint64 { return r.Base + r.Size }

// String returns r as "[0x550000000000, 0x550040000000)".
func (r Range) String() string { return fmt.Sprintf("[%#x, %#x)", r.Base, r.End()) }

func (r Range) overlaps(o Range) bool { return max(r.Base, o.Base) < min(r.End(), o.End()) }

// image is what of an ELF file the kernel's loader looks at.
type image struct {
	header  elf.Header64
	entries []elf.Prog64
}

const (
	headerSize = 64
	entrySize  = 56
	maxEntries = 1024 // the kernel takes a table of 64 KiB
)

// read reads and checks the headers. It returns ErrUnsuitable for what is no 64-bit little-endian ELF.
func read(r io.ReaderAt) (*image, error) {
	head := make([]byte, headerSize)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, unlessShort(err)
	}
	if string(head[:4]) != elf.ELFMAG {
		return nil, fmt.Errorf("%w: it is no ELF file", ErrUnsuitable)
	}
	if elf.Class(head[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("%w: it is no 64-bit little-endian program", ErrUnsuitable)
	}
	var i image
	if err := decode(head, &i.header); err != nil {
		return nil, err
	}
	if i.header.Phentsize != entrySize || i.header.Phnum == 0 || i.header.Phnum > maxEntries || i.header.Phoff > 1<<62 {
		return nil, fmt.Errorf("%w: odd table of program headers", ErrUnsuitable)
	}
	table := make([]byte, int(i.header.Phnum)*entrySize)
	if _, err := r.ReadAt(table, int64(i.header.Phoff)); err != nil {
		return nil, unlessShort(err)
	}
	i.entries = make([]elf.Prog64, i.header.Phnum)
	return &i, decode(table, i.entries)
}

func unlessShort(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it is no complete ELF file", ErrUnsuitable)
	}
	return err
}

func decode(data []byte, to any) error {
	return binary.Read(bytes.NewReader(data), binary.LittleEndian, to)
}

// table returns the program headers as they stand in the file.
func (i *image) table() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, i.entries) // a Buffer takes everything
	return b.Bytes()
}

func isLoad(p elf.Prog64) bool { return elf.ProgType(p.Type) == elf.PT_LOAD }

func hasType(want elf.ProgType) func(elf.Prog64) bool {
	return func(p elf.Prog64) bool { return elf.ProgType(p.Type) == want }
}

// isStamp recognises what stampOf makes; no linker makes a segment that nobody can access.
func isStamp(p elf.Prog64) bool {
	return isLoad(p) && p.Flags == 0 && p.Filesz == p.Memsz && p.Memsz != 0 && p.Off != 0 && p.Off%offset == 0
}

// stampOf returns the segment that reserves r in a program whose file has fileSize bytes.
func stampOf(r Range, fileSize uint64) elf.Prog64 {
	return elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: 0, Align: unit,
		Off:   (fileSize + offset - 1) / offset * offset,
		Vaddr: r.Base, Paddr: r.Base, Filesz: r.Size, Memsz: r.Size,
	}
}

// stamps returns the ranges that the image reserves.
func (i *image) stamps() []Range {
	var ranges []Range
	for _, p := range i.entries {
		if isStamp(p) {
			ranges = append(ranges, Range{p.Vaddr, p.Memsz})
		}
	}
	return ranges
}

// add makes the image reserve r. What it reserves already stays.
func (i *image) add(r Range, fileSize uint64) error {
	if slices.Contains(i.stamps(), r) {
		return nil
	}
	if err := i.fits(r); err != nil {
		return err
	}
	victim := i.victim()
	if victim < 0 {
		return fmt.Errorf("%w: it has no note left to make room for %v", ErrUnsuitable, r)
	}
	i.entries = slices.Delete(i.entries, victim, victim+1)
	i.entries = slices.Insert(i.entries, i.place(r), stampOf(r, fileSize))
	return nil
}

// victim returns the entry that is missed least: an unused one, or the last note. The first may be
// the property note, which switches on protections of the processor.
func (i *image) victim() int {
	if n := slices.IndexFunc(i.entries, hasType(elf.PT_NULL)); n >= 0 {
		return n
	}
	for n := len(i.entries) - 1; n >= 0; n-- {
		if hasType(elf.PT_NOTE)(i.entries[n]) {
			return n
		}
	}
	return -1
}

// place returns where in the table the segment goes: loadable segments ascend by address.
func (i *image) place(r Range) int {
	for n := len(i.entries) - 1; n >= 0; n-- {
		if isLoad(i.entries[n]) && i.entries[n].Vaddr < r.Base {
			return n + 1
		}
	}
	return len(i.entries)
}

// fits checks a range against the program's own segments. It must lie above them: the place of the
// first segment tells older kernels where the program headers are.
func (i *image) fits(r Range) error {
	userSpace := i.userSpace()
	if r.Base == 0 || r.Size == 0 || r.Base%unit != 0 || r.Size%unit != 0 || r.End() <= r.Base || r.End() > 1<<56 {
		return fmt.Errorf("%v: base and size must be positive multiples of 64 KiB", r)
	}
	if r.End() > userSpace {
		return fmt.Errorf("%w: its own heap (brk) would follow to above %v, beyond %#x", ErrUnsuitable, r, userSpace)
	}
	for _, p := range i.entries {
		own := Range{p.Vaddr / unit * unit, (p.Memsz + p.Vaddr%unit + unit - 1) / unit * unit}
		switch {
		case !isLoad(p):
		case own.overlaps(r) && isStamp(p):
			return fmt.Errorf("%w: it is stamped with %v already; begin with the original", ErrUnsuitable, own)
		case own.overlaps(r):
			return fmt.Errorf("%w: its own code or data lies at %v, in %v", ErrUnsuitable, own, r)
		case own.Base > r.Base && !isStamp(p):
			return fmt.Errorf("%w: its own code or data lies at %v, above %v", ErrUnsuitable, own, r)
		}
	}
	return nil
}

// userSpace returns the end of the addresses that the kernel gives out unasked. The heap of a program
// (brk) begins behind its last segment, and not every program bears longer pointers to that.
func (i *image) userSpace() uint64 {
	if elf.Machine(i.header.Machine) == elf.EM_AARCH64 {
		return 1 << 48
	}
	return 1 << 47
}

// suitable reports why a program of this kind cannot be stamped.
func (i *image) suitable() error {
	switch elf.Type(i.header.Type) {
	case elf.ET_EXEC:
		if !slices.ContainsFunc(i.entries, isLoad) {
			return fmt.Errorf("%w: it has no segments", ErrUnsuitable)
		}
		return nil
	case elf.ET_DYN:
		if slices.ContainsFunc(i.entries, hasType(elf.PT_INTERP)) {
			return fmt.Errorf("%w: it is position-independent (PIE)", ErrUnsuitable)
		}
		return fmt.Errorf("%w: it is a static PIE or a shared library", ErrUnsuitable)
	}
	return fmt.Errorf("%w: it is no executable", ErrUnsuitable)
}
