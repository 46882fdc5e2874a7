package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

const mib = 1 << 20

func TestReserveTakesExactlyTheRange(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t) + mib
		r := mustReserve(t, base, mib, take)
		if want := (Range{base, base + mib}); r.Range() != want {
			t.Errorf("%v, want %v", r.Range(), want)
		}
		m, ok := at(t, base)
		if !ok || m.Perms != "---p" || m.Start > base || m.End < base+mib {
			t.Errorf("the map shows %v, %t", m, ok)
		}
	})
}

func TestReserveNamesWhatIsInTheWay(t *testing.T) {
	const size = 8 * mib
	tests := map[string]struct{ from, to int64 }{ // of the foreign mapping, against the range [0, 8 MiB)
		"all of it":        {0, 8 * mib},
		"the start":        {-mib, mib},
		"the first page":   {0, Guard},
		"the middle":       {2 * mib, 3 * mib},
		"the last page":    {8*mib - Guard, 8 * mib},
		"the end":          {7 * mib, 9 * mib},
		"more on each end": {-mib, 9 * mib},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, take way) {
				base := area(t) + 16*mib
				other := Range{base + uint64(test.from), base + uint64(test.to)}
				path := mustOccupy(t, other)
				r, err := reserve(base, size, take)
				var taken *TakenError
				if r != nil || !errors.Is(err, ErrTaken) || !errors.As(err, &taken) {
					t.Fatalf("%v, %v, want a TakenError", r, err)
				}
				if len(taken.Mappings) != 1 || taken.Mappings[0].Range != other {
					t.Errorf("in the way are %v, want %v", taken.Mappings, other)
				}
				want := fmt.Sprintf("reserve [%#x, %#x): taken by %s %v rw-s", base, base+size, path, other)
				if diff := cmp.Diff(want, err.Error()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestReserveCountsWhatIsInTheWay(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t)
		first := mustOccupy(t, Range{base + mib, base + 2*mib})
		for i := uint64(2); i < 5; i++ {
			mustOccupy(t, Range{base + i*2*mib, base + i*2*mib + Guard})
		}
		_, err := reserve(base, 10*mib, take)
		var taken *TakenError
		if !errors.As(err, &taken) || len(taken.Mappings) != 4 {
			t.Fatalf("%v, want four mappings", err)
		}
		if text := err.Error(); !strings.Contains(text, first) || !strings.HasSuffix(text, " and 3 more") {
			t.Error(text)
		}
	})
}

func TestTakenErrorWithoutMappings(t *testing.T) {
	err := &TakenError{Range: Range{0x10000, 0x20000}}
	if want := "reserve [0x10000, 0x20000): taken by a mapping that could not be found afterwards"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestReleaseThenReserveAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		base := area(t) + mib
		for range 100 {
			r, err := reserve(base, mib, take)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Release(); err != nil {
				t.Fatal(err)
			}
		}
		for _, address := range []uint64{base - Guard, base, base + mib} {
			if m, ok := at(t, address); ok {
				t.Errorf("%v is left", m)
			}
		}
	})
}

func TestReserveRefusesBadArguments(t *testing.T) {
	base := area(t)
	for _, test := range []struct {
		base, size uint64
		want       error
	}{
		{0, mib, ErrUnaligned},
		{base, 0, ErrUnaligned},
		{base + 4096, mib, ErrUnaligned},
		{base, mib + 1, ErrUnaligned},
		{math.MaxUint64 - Guard + 1, Guard, ErrBeyond},
		{base, math.MaxUint64 - Guard + 1, ErrBeyond},
		{1 << 62, mib, ErrBeyond},
	} {
		eachWay(t, func(t *testing.T, take way) {
			if r, err := reserve(test.base, test.size, take); r != nil || !errors.Is(err, test.want) {
				t.Errorf("%#x bytes at %#x: %v, want %v", test.size, test.base, err, test.want)
			}
		})
	}
}

// A kernel that does not honour a hint, although the range is free, must not be taken for a conflict,
// and its answer must not stay reserved.
func TestReserveIsRefused(t *testing.T) {
	var answer uint64
	elsewhere := func(_, size uint64) (at uint64, err error) {
		answer, err = sys.ReserveHint(0, size)
		return answer, err
	}
	_, err := reserve(area(t), mib, elsewhere)
	if !errors.Is(err, ErrRefused) || errors.Is(err, ErrTaken) {
		t.Errorf("%v, want ErrRefused", err)
	}
	if m, ok := at(t, answer); ok && m.Perms == "---p" && m.Contains(answer+mib-1) {
		t.Errorf("%v is left", m)
	}
}

func TestReserveGoesOnWithoutAFlagThatIsRejected(t *testing.T) {
	for _, rejection := range []error{errors.ErrUnsupported, sys.EINVAL} {
		reject := func(_, _ uint64) (uint64, error) { return 0, rejection }
		take := func(base, size uint64) (uint64, error) { return unlessRejected(reject, byHint, base, size) }
		mustReserve(t, area(t)+mib, mib, take)
	}
	denied := func(_, _ uint64) (uint64, error) { return 0, fs.ErrPermission }
	take := func(base, size uint64) (uint64, error) { return unlessRejected(denied, byHint, base, size) }
	if _, err := reserve(area(t)+mib, mib, take); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v, want fs.ErrPermission", err)
	}
}

func TestSceneExplains(t *testing.T) {
	span := Range{0x10000, 0x20000}
	roomy := scene{count: 10, used: 1000, top: 1 << 47, addressLimit: math.MaxUint64, mapLimit: 65530}
	with := func(change func(*scene)) scene { s := roomy; change(&s); return s }
	tests := map[string]struct {
		s    scene
		err  error
		want error
		text string
	}{
		"exists":      {roomy, fs.ErrExist, ErrTaken, "taken by a mapping that could not be found afterwards"},
		"not allowed": {roomy, fs.ErrPermission, fs.ErrPermission, "permission denied"},
		"beyond": {
			with(func(s *scene) { s.top = 0x18000 }), sys.ENOMEM, ErrBeyond,
			"range ends beyond the address space at 0x18000",
		},
		"over the limit": {
			with(func(s *scene) { s.addressLimit = 2000 }), sys.ENOMEM, ErrAddressLimit,
			"address space limit (RLIMIT_AS) of 2000 bytes: 1000 in use, 65536 more needed",
		},
		"over the limit before": {
			with(func(s *scene) { s.addressLimit = 999 }), sys.ENOMEM, ErrAddressLimit,
			"address space limit (RLIMIT_AS) of 999 bytes: 1000 in use, 65536 more needed",
		},
		"within the limit": {
			with(func(s *scene) { s.addressLimit = 1000 + 65536 }), sys.ENOMEM, ErrNoMemory,
			"out of memory: cannot allocate memory",
		},
		"mappings": {
			with(func(s *scene) { s.count = 65530 }), sys.ENOMEM, ErrMapCount,
			"too many mappings (vm.max_map_count): 65530 of 65530",
		},
		"memory": {roomy, sys.ENOMEM, ErrNoMemory, "out of memory: cannot allocate memory"},
	}
	for name, test := range tests {
		got := test.s.explain(span, test.err)
		if text := "reserve [0x10000, 0x20000): " + test.text; !errors.Is(got, test.want) || got.Error() != text {
			t.Errorf("%s: %v, want %v, %q", name, got, test.want, text)
		}
	}
}

func TestSceneElsewhere(t *testing.T) {
	span := Range{0x10000, 0x20000}
	other := Mapping{Range: Range{0x18000, 0x19000}, Perms: "rw-p"}
	tests := map[string]struct {
		s    scene
		want error
	}{
		"taken":      {scene{overlap: []Mapping{other}, top: 0x1000}, ErrTaken},
		"beyond":     {scene{top: 0x18000}, ErrBeyond},
		"refused":    {scene{top: 1 << 47}, ErrRefused},
		"cannot say": {scene{top: 1 << 47, unread: fs.ErrPermission}, fs.ErrPermission},
	}
	for name, test := range tests {
		if got := test.s.elsewhere(span, 0x30000); !errors.Is(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// An address in Go's own heap is a number all the way to the kernel: as a pointer to an unused part of
// the heap it would end the program when the collector met it.
func TestReserveInsideGoHeap(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		inUse := uint64(mem.Over(make([]byte, 4*mib)).Base())
		base := inUse/Guard*Guard + Guard
		done := make(chan struct{})
		var collector sync.WaitGroup
		collector.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					runtime.GC()
				}
			}
		})
		for range 200 {
			for _, offset := range []uint64{0, 2 * mib} {
				if _, err := reserve(base+offset, Guard, take); !errors.Is(err, ErrTaken) {
					t.Errorf("%v, want ErrTaken", err)
				}
			}
		}
		close(done)
		collector.Wait()
	})
}

func TestOneOfManyGetsTheRange(t *testing.T) {
	eachWay(t, func(t *testing.T, take way) {
		const contenders, rounds = 8, 100
		base := area(t) + mib
		for range rounds {
			var won [contenders]*Reservation
			var lost [contenders]error
			start := make(chan struct{})
			var all sync.WaitGroup
			for i := range contenders {
				all.Go(func() {
					<-start
					won[i], lost[i] = reserve(base, mib, take)
				})
			}
			close(start)
			all.Wait()
			winners := 0
			for i, r := range won {
				switch {
				case r != nil:
					winners++
				case !errors.Is(lost[i], ErrTaken):
					t.Errorf("contender %d: %v, want ErrTaken", i, lost[i])
				}
				if err := r.Release(); err != nil {
					t.Error(err)
				}
			}
			if winners != 1 {
				t.Fatalf("%d winners", winners)
			}
		}
	})
}

func TestFlagIsSound(t *testing.T) {
	for _, test := range []struct {
		goos    string
		version sys.Version
		want    bool
	}{
		{"linux", sys.Version{Major: 4, Minor: 16}, false},
		{"linux", sys.Version{Major: 4, Minor: 18}, false},
		{"linux", sys.Version{Major: 4, Minor: 19}, true},
		{"linux", sys.Version{Major: 6, Minor: 1}, true},
		{"darwin", sys.Version{Major: 24, Minor: 5}, false},
	} {
		if got := flagIsSound(test.goos, test.version); got != test.want {
			t.Errorf("%s %v: %t", test.goos, test.version, got)
		}
	}
}

func TestHintIsBound(t *testing.T) {
	for _, test := range []struct {
		goos, goarch string
		version      sys.Version
		want         bool
	}{
		{"linux", "riscv64", sys.Version{Major: 6, Minor: 5}, false}, {"linux", "riscv64", sys.Version{Major: 6, Minor: 6}, true},
		{"linux", "riscv64", sys.Version{Major: 6, Minor: 8}, true}, {"linux", "riscv64", sys.Version{Major: 6, Minor: 9}, false},
		{"linux", "arm64", sys.Version{Major: 6, Minor: 6}, false}, {"linux", "riscv64", sys.Version{Major: 7, Minor: 6}, false},
	} {
		if got := hintIsBound(test.goos, test.goarch, test.version); got != test.want {
			t.Errorf("%s/%s %v: %t", test.goos, test.goarch, test.version, got)
		}
	}
}
