package sys

import (
	"fmt"
	"math/bits"
	"os"
)

// EachMapping calls visit for every mapping of this process, ascending, and stops at the first error.
// It keeps nothing, so that it works where mappings or memory have run out. It is no snapshot: what is
// mapped or unmapped meanwhile may or may not be seen.
func EachMapping(visit func(Mapping) error) error {
	const path = "/proc/self/maps"
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := scanMappings(f, visit); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// AddressBits returns the width of an address of this process in bits: 39, 42, 47 or 48, and 38 under
// riscv64 sv39. The main stack, which the kernel puts just below the top, tells it.
func AddressBits() (int, error) {
	var top topFinder
	if err := EachMapping(top.visit); err != nil {
		return 0, err
	}
	return bits.Len64(top.end() - 1), nil
}

// topFinder finds the end of the main stack, or of the highest mapping where none is called a stack.
// The vsyscall page lies in the kernel's half and does not count; nor does, when there is a stack, a
// mapping that asked for an address above the default window (5-level paging).
type topFinder struct{ stack, highest uint64 }

func (t *topFinder) visit(m Mapping) error {
	switch {
	case m.Path == "[stack]":
		t.stack = m.End
	case m.Path != "[vsyscall]" && m.End <= 1<<63:
		t.highest = max(t.highest, m.End)
	}
	return nil
}

func (t *topFinder) end() uint64 {
	if t.stack != 0 {
		return t.stack
	}
	return t.highest
}
