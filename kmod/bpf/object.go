package bpf

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ErrObject is returned for an object file that has something this package cannot load.
var ErrObject = errors.New("object file cannot be loaded")

// Object is an object file of programs that clang has compiled, from version 19 on with casts of its own:
//
//	clang -target bpf -mcpu=v4 -O2 -c program.c
//
// Its functions may refer to maps (section .maps), an arena above all. There are no global variables, no calls between
// functions that were not inlined, and no relocations to the structures of other kernels.
type Object struct{ functions map[string]function }

// function is a program in an object file.
type function struct {
	code       []byte
	references []reference
}

// reference is an instruction that wants the number of a map.
type reference struct {
	at     uint64 // offset of the instruction
	symbol string
}

const relocateMap = 1 // R_BPF_64_64

// ReadObject reads an object file. It returns an error that wraps ErrObject for one that it does not understand.
func ReadObject(r io.ReaderAt) (*Object, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrObject, err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil || f.Machine != elf.EM_BPF || f.ByteOrder != binary.LittleEndian {
		return nil, fmt.Errorf("%w: for %v: %w", ErrObject, f.Machine, errors.Join(err))
	}
	o := &Object{make(map[string]function)}
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || int(s.Section) >= len(f.Sections) {
			continue
		}
		if o.functions[s.Name], err = readFunction(f, symbols, s); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func readFunction(f *elf.File, symbols []elf.Symbol, s elf.Symbol) (function, error) {
	code, err := f.Sections[s.Section].Data()
	if err != nil || s.Value > uint64(len(code)) || s.Size > uint64(len(code))-s.Value || s.Size%8 != 0 {
		return function{}, fmt.Errorf("%w: function %s: %w", ErrObject, s.Name, errors.Join(err, io.ErrUnexpectedEOF))
	}
	p := function{code: code[s.Value : s.Value+s.Size]}
	for _, section := range f.Sections {
		if section.Type != elf.SHT_REL || section.Info != uint32(s.Section) {
			continue
		}
		entries, err := section.Data()
		if err != nil {
			return function{}, fmt.Errorf("%w: %w", ErrObject, err)
		}
		if err := p.refer(entries, symbols, s); err != nil {
			return function{}, err
		}
	}
	return p, nil
}

// refer takes note of the references of a section that are in the function.
func (p *function) refer(entries []byte, symbols []elf.Symbol, s elf.Symbol) error {
	for ; len(entries) >= 16; entries = entries[16:] {
		at, info := binary.LittleEndian.Uint64(entries), binary.LittleEndian.Uint64(entries[8:])
		number, kind := info>>32, uint32(info)
		if at < s.Value || at-s.Value >= s.Size {
			continue
		}
		if kind != relocateMap || number == 0 || number > uint64(len(symbols)) || at-s.Value+16 > s.Size {
			return fmt.Errorf("%w: function %s: relocation of type %d at %d", ErrObject, s.Name, kind, at)
		}
		p.references = append(p.references, reference{at - s.Value, symbols[number-1].Name})
	}
	return nil
}

// Names returns the names of the programs.
func (o *Object) Names() []string { return slices.Sorted(maps.Keys(o.functions)) }

// Code returns the code of a program, for Spec.Raw, with the descriptors of the maps that it refers to by name. It
// returns ErrObject for a name that there is not.
func (o *Object) Code(name string, descriptors map[string]int) ([]byte, error) {
	p, ok := o.functions[name]
	if !ok {
		return nil, fmt.Errorf("%w: no function %q among %q", ErrObject, name, o.Names())
	}
	code := slices.Clone(p.code)
	for _, r := range p.references {
		fd, ok := descriptors[r.symbol]
		if !ok {
			return nil, fmt.Errorf("%w: function %s refers to %q, for which there is no map", ErrObject, name, r.symbol)
		}
		at := code[r.at:]
		if i := (Instruction{Code: at[0]}); !i.wide() {
			return nil, fmt.Errorf("%w: function %s refers to %q by instruction %#x", ErrObject, name, r.symbol, at[0])
		}
		at[1] = at[1]&0x0f | pseudoMap<<4
		binary.LittleEndian.PutUint32(at[4:], uint32(fd))
	}
	return code, nil
}
