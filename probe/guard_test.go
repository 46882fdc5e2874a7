package probe

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGuardsOnBothSides(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t) + mib
		r := mustReserve(t, base, mib, take)
		if _, err := r.Map(tempFile(t, mib), true); err != nil {
			t.Fatal(err)
		}
		for _, want := range []Range{{base - Guard, base}, {base + mib, base + mib + Guard}} {
			if m, _ := at(t, want.Start); m.Range != want || m.Perms != "---p" {
				t.Errorf("%v, want a guard at %v", m, want)
			}
		}
	})
}

func TestTakenGuardDoesNotFail(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t) + mib
		mustOccupy(t, Range{base - Guard, base})
		mustOccupy(t, Range{base + mib, base + mib + Guard})
		mustReserve(t, base, mib, take)
	})
}

// Two regions may lie side by side, in whichever order they are opened.
func TestGuardGivesWay(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t) + 16*mib
		middle := mustReserve(t, base, mib, take)
		mustReserve(t, base+mib, mib, take)
		mustReserve(t, base-mib, mib, take)
		if err := middle.Release(); err != nil {
			t.Fatal(err)
		}
		for _, address := range []uint64{base - 1, base + mib} {
			if m, ok := at(t, address); !ok {
				t.Errorf("a neighbour at %#x went with it: %v", address, m)
			}
		}
		mustReserve(t, base, mib, take)
	})
}

func TestGuardsOf(t *testing.T) {
	const top = math.MaxUint64 - Guard + 1 // of an address space, rounded down
	for _, test := range []struct {
		span Range
		want []Range
	}{
		{Range{0x100000, 0x200000}, []Range{{0xf0000, 0x100000}, {0x200000, 0x210000}}},
		{Range{Guard, 2 * Guard}, []Range{{2 * Guard, 3 * Guard}}}, // not page zero
		{Range{top - Guard, top}, []Range{{top - 2*Guard, top - Guard}}},
	} {
		if diff := cmp.Diff(test.want, guardsOf(test.span)); diff != "" {
			t.Errorf("%v: %s", test.span, diff)
		}
	}
}

func TestReservationsLeaveNoGuardBehind(t *testing.T) {
	guards.mu.Lock()
	before := len(guards.held)
	guards.mu.Unlock()
	base := area(t) + mib
	for i := range uint64(4) {
		r, err := Reserve(base+i*mib, mib)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := r.Release(); err != nil {
				t.Error(err)
			}
			guards.mu.Lock()
			defer guards.mu.Unlock()
			if i == 0 && len(guards.held) != before {
				t.Errorf("%d guards, want %d", len(guards.held), before)
			}
		}()
	}
}
