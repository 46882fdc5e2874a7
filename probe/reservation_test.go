package probe

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

func TestMapShowsTheFile(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t) + mib
		f := tempFile(t, mib)
		writer := mustMap(t, mustReserve(t, base, mib, take), f, true)
		reader := mustMap(t, mustReserve(t, base+8*mib, mib, take), f, false)
		if uint64(writer.Base()) != base || writer.Size() != mib {
			t.Errorf("%d bytes at %#x, want %d at %#x", writer.Size(), writer.Base(), mib, base)
		}
		*mem.View[uint64](writer, mib-8) = 42
		if got := *mem.View[uint64](reader, mib-8); got != 42 {
			t.Errorf("the other mapping holds %d", got)
		}
		if m, _ := at(t, base+8*mib); m.Perms != "r--s" || m.Path != resolved(t, f.Name()) {
			t.Errorf("the reader has %v", m)
		}
	})
}

func mustMap(t *testing.T, r *Reservation, f *os.File, writable bool) mem.Memory {
	t.Helper()
	memory, err := r.Map(f, writable)
	if err != nil {
		t.Fatal(err)
	}
	return memory
}

func TestMisuseOfAReservation(t *testing.T) {
	r := mustReserve(t, area(t)+mib, mib, bestWay())
	f := tempFile(t, mib)
	if _, err := r.Map(nil, true); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no file: %v", err)
	}
	mustMap(t, r, f, true)
	if _, err := r.Map(f, true); !errors.Is(err, ErrMapped) {
		t.Errorf("mapped twice: %v, want ErrMapped", err)
	}
	for range 2 {
		if err := r.Release(); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if _, err := r.Map(f, true); !errors.Is(err, ErrReleased) {
		t.Errorf("mapped after release: %v, want ErrReleased", err)
	}
	if r.Range().Size() != mib {
		t.Errorf("%v after release", r.Range())
	}
}

func TestNilReservation(t *testing.T) {
	var r *Reservation
	if err := r.Release(); err != nil {
		t.Error(err)
	}
	if r.Range() != (Range{}) {
		t.Error(r.Range())
	}
	if _, err := r.Map(os.Stdin, true); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}

func TestRangeIsStillReservedAfterAFailedMap(t *testing.T) {
	readOnly, err := os.Open(tempFile(t, mib).Name())
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	closed := tempFile(t, mib)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		f    *os.File
		want error
	}{
		"read-only": {readOnly, fs.ErrPermission},
		"closed":    {closed, os.ErrClosed},
		"socket":    {socket(t), nil}, // Linux removes the reservation before it asks the socket, which refuses
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, take way) {
				base := area(t) + mib
				r := mustReserve(t, base, mib, take)
				_, err := r.Map(test.f, true)
				if err == nil || errors.Is(err, ErrReleased) || test.want != nil && !errors.Is(err, test.want) {
					t.Fatalf("%v, want %v", err, test.want)
				}
				if m, ok := at(t, base); !ok || m.Perms != "---p" {
					t.Errorf("the map shows %v, %t", m, ok)
				}
				mustMap(t, r, tempFile(t, mib), true)
			})
		})
	}
}

// socket returns a file that passes the checks of mmap and then cannot be mapped.
func socket(t *testing.T) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = f.Close(), l.Close() })
	return f
}

// When another thread gets into the hole that a failed mmap leaves, the reservation is lost, and what
// is there now is left alone.
func TestRangeIsLostToAnotherAfterAFailedMap(t *testing.T) {
	base := area(t) + mib
	r := mustReserve(t, base, mib, bestWay())
	f := tempFile(t, mib)
	var other *foreign
	r.take = func(base, size uint64) (uint64, error) {
		if err := sys.Unmap(base, size); err != nil { // where the failed mmap did not
			return 0, err
		}
		var err error
		if other, _, err = occupy(f, Range{base, base + size}, 7); err != nil {
			return 0, err
		}
		return byHint(base, size)
	}
	if _, err := r.Map(socket(t), true); !errors.Is(err, ErrReleased) || !errors.Is(err, ErrTaken) {
		t.Errorf("%v, want ErrReleased and ErrTaken", err)
	}
	if err := r.Release(); err != nil {
		t.Error(err)
	}
	if other == nil {
		t.Fatal("the failed mmap was not noticed")
	}
	if err := errors.Join(other.check(), other.leave()); err != nil {
		t.Error(err)
	}
}

func TestInaccessible(t *testing.T) {
	span := Range{100, 200}
	none := func(start, end uint64) Mapping { return Mapping{Range: Range{start, end}, Perms: "---p"} }
	for _, test := range []struct {
		mappings []Mapping
		want     bool
	}{
		{nil, false},
		{[]Mapping{none(100, 200)}, true},
		{[]Mapping{none(50, 250)}, true},
		{[]Mapping{none(90, 150), none(150, 200)}, true},
		{[]Mapping{none(90, 150), none(151, 200)}, false},
		{[]Mapping{none(101, 200)}, false},
		{[]Mapping{none(100, 199)}, false},
		{[]Mapping{{Range: span, Perms: "rw-p"}}, false},
		{[]Mapping{{Range: span, Perms: "---p", Inode: 7}}, false},
	} {
		if got := inaccessible(test.mappings, span); got != test.want {
			t.Errorf("%v: %t", test.mappings, got)
		}
	}
}

func TestReservationSharedByGoroutines(t *testing.T) {
	f := tempFile(t, mib)
	base := area(t) + mib
	for range 50 {
		r := mustReserve(t, base, mib, bestWay())
		start := make(chan struct{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				<-start
				if _, err := r.Map(f, true); err != nil && !errors.Is(err, ErrMapped) && !errors.Is(err, ErrReleased) {
					t.Error(err)
				}
			})
			all.Go(func() {
				<-start
				if err := r.Release(); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
		if m, ok := at(t, base); ok {
			t.Fatalf("%v is left", m)
		}
	}
}
