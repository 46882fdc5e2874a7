package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Kernel is what the running kernel says of its own types (Documentation/bpf/btf.rst).
type Kernel struct {
	types   []byte
	strings []byte
}

// Kinds of types.
const (
	kindInt       = 1
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindFunction  = 12
	kindPrototype = 13
	kindVariable  = 14
	kindSection   = 15
	kindTag       = 17
	kindEnum64    = 19
)

const btfMagic = 0xeb9f

// RunningKernel reads the types once. It returns a *SupportError for a kernel that does not tell.
var RunningKernel = sync.OnceValues(func() (*Kernel, error) {
	data, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		return nil, &SupportError{"find the kernel's types", "a kernel with CONFIG_DEBUG_INFO_BTF, and /sys", err}
	}
	return ParseTypes(data)
})

var errTypes = errors.New("the kernel's types are not as expected")

// ParseTypes reads types as the kernel shows them.
func ParseTypes(data []byte) (*Kernel, error) {
	const header = 24
	if len(data) < header || binary.LittleEndian.Uint16(data) != btfMagic {
		return nil, errTypes
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(data[4*i:])) }
	body := uint64(len(data))
	types, strings := word(1)+word(2), word(1)+word(4)
	if types > body || word(3) > body-types || strings > body || word(5) > body-strings {
		return nil, errTypes
	}
	return &Kernel{types: data[types : types+word(3)], strings: data[strings : strings+word(5)]}, nil
}

// kernelType is one type: its name, kind, and what follows.
type kernelType struct {
	id      int32
	name    uint32
	kind    uint32
	members []byte // of a struct: name, type and offset in bits, 32 bits each
}

// each calls visit for all types until it returns false.
func (k *Kernel) each(visit func(kernelType) bool) error {
	for at, id := k.types, int32(1); len(at) > 0; id++ {
		const fixed = 12
		if len(at) < fixed {
			return errTypes
		}
		info := binary.LittleEndian.Uint32(at[4:])
		kind, members := info>>24&0x1f, int(info&0xffff)
		more := extra(kind, members)
		if len(at) < fixed+more {
			return errTypes
		}
		if !visit(kernelType{id, binary.LittleEndian.Uint32(at), kind, at[fixed : fixed+more]}) {
			return nil
		}
		at = at[fixed+more:]
	}
	return nil
}

// extra is how many bytes follow the fixed part of a type.
func extra(kind uint32, members int) int {
	switch kind {
	case kindInt, kindVariable, kindTag:
		return 4
	case kindArray:
		return 12
	case kindStruct, kindUnion, kindSection, kindEnum64:
		return 12 * members
	case kindEnum, kindPrototype:
		return 8 * members
	}
	return 0
}

func (k *Kernel) named(at uint32, name string) bool {
	return uint64(at) < uint64(len(k.strings)) && bytes.HasPrefix(k.strings[at:], append([]byte(name), 0))
}

// Function returns the number of a kernel function's type, for CallKernel. It returns a *SupportError for one that
// this kernel does not have.
func (k *Kernel) Function(name string) (int32, error) {
	var id int32
	err := k.each(func(t kernelType) bool {
		if t.kind == kindFunction && k.named(t.name, name) {
			id = t.id
		}
		return id == 0
	})
	if err == nil && id == 0 {
		err = &SupportError{"call " + name, "a kernel that has it", os.ErrNotExist}
	}
	return id, err
}

// Field returns the offset in bytes of a field of a kernel structure.
func (k *Kernel) Field(structure, field string) (offset int32, err error) {
	found := false
	err = k.each(func(t kernelType) bool {
		if t.kind != kindStruct || !k.named(t.name, structure) {
			return true
		}
		for m := t.members; len(m) >= 12 && !found; m = m[12:] {
			if k.named(binary.LittleEndian.Uint32(m), field) {
				offset, found = int32(binary.LittleEndian.Uint32(m[8:])&0xffffff/8), true
			}
		}
		return !found
	})
	if err == nil && !found {
		err = fmt.Errorf("field %s.%s: %w", structure, field, errTypes)
	}
	return offset, err
}
