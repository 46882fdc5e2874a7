package stamp

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"slices"
)

// Ranges returns what the program in r reserves, in the order of its table, whatever kind of ELF file
// it is. It returns ErrUnsuitable when it is none.
func Ranges(r io.ReaderAt) ([]Range, error) {
	i, err := read(r)
	if err != nil {
		return nil, err
	}
	return i.stamps(), nil
}

// Check returns ErrUnsuitable, with the reason, when the program cannot be stamped.
func Check(program *os.File, ranges ...Range) error {
	_, err := plan(program, ranges)
	return err
}

// Copy writes the program with stamps for the ranges added to to, an empty file, and reads it back.
// It returns ErrUnsuitable, with the reason, when the program cannot be stamped. A range that is
// there already is no error.
func Copy(to, program *os.File, ranges ...Range) error {
	i, err := plan(program, ranges)
	if err != nil {
		return err
	}
	if _, err := program.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(to, program); err != nil {
		return fmt.Errorf("copy %s: %w", program.Name(), err)
	}
	if _, err := to.WriteAt(i.table(), int64(i.header.Phoff)); err != nil {
		return err
	}
	return verify(to, program, i)
}

func plan(program *os.File, ranges []Range) (*image, error) {
	info, err := program.Stat()
	if err != nil {
		return nil, err
	}
	return planOf(program, uint64(info.Size()), ranges)
}

// planOf returns the headers of a program of fileSize bytes with the stamps added.
func planOf(program io.ReaderAt, fileSize uint64, ranges []Range) (*image, error) {
	i, err := read(program)
	if err != nil {
		return nil, err
	}
	if err := i.suitable(); err != nil {
		return nil, err
	}
	for _, r := range ranges {
		if err := i.add(r, fileSize); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// verify reads what was written with another reader of ELF files, and compares the rest.
func verify(written, program *os.File, want *image) error {
	f, err := elf.NewFile(written)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	var got []Range
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags == 0 {
			got = append(got, Range{p.Vaddr, p.Memsz})
		}
	}
	if !slices.Equal(got, want.stamps()) {
		return fmt.Errorf("read back: stamps %v, want %v", got, want.stamps())
	}
	same, err := sameOutside(written, program, int64(want.header.Phoff), int64(len(want.table())))
	if err == nil && !same {
		err = fmt.Errorf("read back: %s changed while it was copied", program.Name())
	}
	return err
}

// sameOutside reports whether two files are equal but for n bytes at off.
func sameOutside(a, b *os.File, off, n int64) (bool, error) {
	const chunk = 1 << 20
	left, right := make([]byte, chunk), make([]byte, chunk)
	for at := int64(0); ; at += chunk {
		gotLeft, err := readChunk(a, left, at)
		if err != nil {
			return false, err
		}
		gotRight, err := readChunk(b, right, at)
		if err != nil {
			return false, err
		}
		blank(gotLeft, at, off, n)
		blank(gotRight, at, off, n)
		if !bytes.Equal(gotLeft, gotRight) {
			return false, nil
		}
		if len(gotLeft) < chunk {
			return true, nil
		}
	}
}

func readChunk(f *os.File, buf []byte, at int64) ([]byte, error) {
	n, err := f.ReadAt(buf, at)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// blank clears what of the n bytes at off lies in the chunk that begins at at.
func blank(chunk []byte, at, off, n int64) {
	from, to := max(off-at, 0), min(off+n-at, int64(len(chunk)))
	if from < to {
		clear(chunk[from:to])
	}
}
