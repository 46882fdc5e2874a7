package probe

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/shmheap/shmheap/internal/handshake"
)

func none(start, end uint64) Mapping { return Mapping{Range: Range{start, end}, Perms: "---p"} }

func TestReservedAlone(t *testing.T) {
	const k = 1 << 20
	span := Range{10 * k, 20 * k}
	writable, shared, named := none(10*k, 20*k), none(10*k, 20*k), none(10*k, 20*k)
	writable.Perms, shared.Perms, named.Inode = "rw-p", "---s", 7
	for _, test := range []struct {
		name     string
		others   []Range
		mappings []Mapping
		want     bool
	}{
		{"exact", nil, []Mapping{none(10*k, 20*k)}, true},
		{"in two", nil, []Mapping{none(10*k, 12*k), none(12*k, 20*k)}, true},
		{"among others", nil, []Mapping{none(k, 2*k), none(10*k, 20*k), none(30*k, 40*k)}, true},
		{"one with a neighbour", []Range{{20 * k, 30 * k}}, []Mapping{none(10*k, 30*k)}, true},
		{"nothing", nil, nil, false},
		{"gap", nil, []Mapping{none(10*k, 12*k), none(13*k, 20*k)}, false},
		{"short", nil, []Mapping{none(10*k, 19*k)}, false},
		{"longer", nil, []Mapping{none(10*k, 21*k)}, false},
		{"begins before", nil, []Mapping{none(9*k, 20*k)}, false},
		{"longer than with its neighbour", []Range{{20 * k, 30 * k}}, []Mapping{none(10*k, 31*k)}, false},
		{"distant relative", []Range{{21 * k, 30 * k}}, []Mapping{none(10*k, 30*k)}, false},
		{"writable", nil, []Mapping{writable}, false},
		{"shared", nil, []Mapping{shared}, false},
		{"file", nil, []Mapping{named}, false},
	} {
		if got := reservedAlone(test.mappings, span, append(test.others, span), hasNoFile); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

// TestVariableAloneProvesNothing: a range without access that somebody in this process has reserved is
// not adopted, whatever the environment says. Nobody but a launcher writes a nonce where there is no
// access.
func TestVariableAloneProvesNothing(t *testing.T) {
	r := mustReserve(t, area(t), areaSize, bestWay())
	e := handshake.Entry{Base: r.Range().Start, Size: r.Range().Size(), Nonce: handshake.NewNonce()}
	guards.drop(r.guards) // they would be one mapping with it, which is the first reason
	if got := believed(e); len(got) != 0 {
		t.Errorf("believed %v", got)
	}
	writeNonce(t, e)
	if got := believed(e); !slices.Equal(got, []Range{r.Range()}) {
		t.Errorf("with the nonce: %v", got)
	}
	zero := handshake.Entry{Base: e.Base, Size: e.Size}
	if got := believed(zero); len(got) != 0 {
		t.Errorf("believed a nonce of zeros: %v", got)
	}
	e.Nonce[15]++
	if got := believed(e); len(got) != 0 {
		t.Errorf("believed another nonce: %v", got)
	}
}

// believed returns the ranges that are taken for reserved when the variable holds e.
func believed(e handshake.Entry) []Range {
	ranges := make(map[Range]proof)
	launchedRanges(handshake.Format([]handshake.Entry{e}), ranges)
	return slices.Collect(maps.Keys(ranges))
}

// writeNonce does what a launcher does, through a door that the kernel leaves open to debuggers.
func writeNonce(t *testing.T, e handshake.Entry) {
	t.Helper()
	f, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(e.Nonce[:], int64(e.Base)); err != nil {
		t.Fatal(err)
	}
}

func init() { children["adopt"] = adoptInChild }

// adoptInChild is launched by itself: it makes a reservation as a launcher would, then adopts it.
func adoptInChild() error {
	entries := handshake.Parse(os.Getenv(handshake.Variable))
	if len(entries) != 1 {
		return errors.New("no entry")
	}
	e := entries[0]
	if _, err := bestWay()(e.Base, e.Size); err != nil {
		return err
	}
	f, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(e.Nonce[:], int64(e.Base)); err != nil {
		return err
	}
	return adoptOnce(e)
}

func adoptOnce(e handshake.Entry) error {
	if _, err := Adopt(e.Base, e.Size-Guard); !errors.Is(err, ErrNotReserved) {
		return fmt.Errorf("part of it: %w", err)
	}
	r, err := Adopt(e.Base, e.Size)
	if err != nil {
		return err
	}
	if _, err := Adopt(e.Base, e.Size); !errors.Is(err, ErrNotReserved) {
		return fmt.Errorf("twice: %w", err)
	}
	if _, err := Reserve(e.Base, e.Size); !errors.Is(err, ErrTaken) {
		return fmt.Errorf("reserved over it: %w", err)
	}
	if err := r.Release(); err != nil {
		return err
	}
	if r, err = Reserve(e.Base, e.Size); err != nil {
		return err
	}
	if _, err := Adopt(e.Base, e.Size); !errors.Is(err, ErrNotReserved) {
		return fmt.Errorf("own reservation adopted: %w", err)
	}
	return r.Release()
}

func TestAdopt(t *testing.T) {
	e := handshake.Entry{Base: area(t), Size: areaSize, Nonce: handshake.NewNonce()}
	t.Setenv(handshake.Variable, handshake.Format([]handshake.Entry{e}))
	if out := runChild(t, "adopt"); out != "" {
		t.Error(out)
	}
}

func TestAdoptErrors(t *testing.T) {
	for _, span := range [][2]uint64{{0, Guard}, {Guard, 0}, {Guard + 1, Guard}, {Guard, 1}, {1<<64 - Guard, 2 * Guard}} {
		if _, err := Adopt(span[0], span[1]); !errors.Is(err, ErrUnaligned) {
			t.Errorf("%#x: %v", span, err)
		}
	}
	if _, err := Adopt(area(t), areaSize); !errors.Is(err, ErrNotReserved) {
		t.Errorf("free range: %v", err)
	}
}
