package alloc

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// TestFrozenValues freezes what programs in other languages find in fields, and holds doc/format.md to it.
func TestFrozenValues(t *testing.T) {
	var (
		text   String
		values Slice[uint16]
	)
	for _, n := range []struct {
		name      string
		got, want uintptr
	}{
		{"String.data", unsafe.Offsetof(text.data), 0}, {"String.size", unsafe.Offsetof(text.size), 8},
		{"Slice.data", unsafe.Offsetof(values.data), 0}, {"Slice.len", unsafe.Offsetof(values.len), 8},
		{"Slice.cap", unsafe.Offsetof(values.cap), 16},
	} {
		if n.got != n.want {
			t.Errorf("%s is at %d, want %d", n.name, n.got, n.want)
		}
	}
	doc, err := os.ReadFile("../doc/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, sizes := range map[string][2]uintptr{"String": {unsafe.Sizeof(text), 16}, "Slice": {unsafe.Sizeof(values), 24}} {
		if row := fmt.Sprintf("\n| %s | %d | ", name, sizes[0]); sizes[0] != sizes[1] || !strings.Contains(string(doc), row) {
			t.Errorf("%s has %d bytes, want %d, and a row %q", name, sizes[0], sizes[1], row)
		}
	}
}
