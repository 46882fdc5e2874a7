package lock

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// TestFrozenFormat freezes sizes and offsets, and holds doc/format.md to them.
func TestFrozenFormat(t *testing.T) {
	var (
		m  Mutex
		rw RWMutex
		c  Cond
		s  Semaphore
		o  Once
		b  Barrier
	)
	for _, n := range []struct {
		name      string
		got, want uintptr
	}{
		{"Mutex.word", unsafe.Offsetof(m.word), 0}, {"Mutex.event", unsafe.Offsetof(m.event), 8},
		{"event.waiting", unsafe.Offsetof(m.event.waiting), 4},
		{"RWMutex.readers", unsafe.Offsetof(rw.readers), 16},
		{"Semaphore.event", unsafe.Offsetof(s.event), 8}, {"Semaphore.holders", unsafe.Offsetof(s.holders), 16},
		{"Once.event", unsafe.Offsetof(o.event), 8},
		{"Barrier.event", unsafe.Offsetof(b.event), 8}, {"Barrier.round", unsafe.Offsetof(b.round), 16},
		{"Barrier.arrived", unsafe.Offsetof(b.arrived), 24},
	} {
		if n.got != n.want {
			t.Errorf("%s is at %d, want %d", n.name, n.got, n.want)
		}
	}
	doc, err := os.ReadFile("../doc/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, sizes := range map[string][2]uintptr{
		"Mutex": {unsafe.Sizeof(m), 16}, "RWMutex": {unsafe.Sizeof(rw), 512}, "Cond": {unsafe.Sizeof(c), 8},
		"Semaphore": {unsafe.Sizeof(s), 512}, "Once": {unsafe.Sizeof(o), 16}, "Barrier": {unsafe.Sizeof(b), 512},
	} {
		if row := fmt.Sprintf("\n| %s | %d | ", name, sizes[0]); sizes[0] != sizes[1] || !strings.Contains(string(doc), row) {
			t.Errorf("%s has %d bytes, want %d, and a row %q", name, sizes[0], sizes[1], row)
		}
	}
}
