package sys

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestParseMapping(t *testing.T) {
	tests := map[string]struct {
		line string
		want Mapping
	}{
		"file": {
			"7f1c00000000-7f1c00022000 r--p 00001000 fe:01 131 /usr/lib/libc.so.6",
			Mapping{0x7f1c00000000, 0x7f1c00022000, "r--p", 0x1000, 131, "/usr/lib/libc.so.6"},
		},
		"padded path": {
			"00400000-00452000 r-xp 00000000 08:02 173521                             /usr/bin/dbus-daemon",
			Mapping{0x400000, 0x452000, "r-xp", 0, 173521, "/usr/bin/dbus-daemon"},
		},
		"spaces and deleted": {
			"550000000000-550000010000 rw-s 00000000 00:01 5                          /dev/shm/my  heap (1) (deleted)",
			Mapping{0x550000000000, 0x550000010000, "rw-s", 0, 5, "/dev/shm/my  heap (1) (deleted)"},
		},
		"path ends in spaces": {
			"1000-2000 rw-s 00000000 00:01 5      /memfd:x  ",
			Mapping{0x1000, 0x2000, "rw-s", 0, 5, "/memfd:x  "},
		},
		"escaped newline": {
			`1000-2000 rw-s 00000000 00:01 5      /tmp/a\012b`,
			Mapping{0x1000, 0x2000, "rw-s", 0, 5, `/tmp/a\012b`},
		},
		"anonymous": {
			"c000000000-c000400000 rw-p 00000000 00:00 0 ",
			Mapping{0xc000000000, 0xc000400000, "rw-p", 0, 0, ""},
		},
		"anonymous, no trailing space": {
			"c000000000-c000400000 ---p 00000000 00:00 0",
			Mapping{0xc000000000, 0xc000400000, "---p", 0, 0, ""},
		},
		"named": {
			"7ffc1f4b8000-7ffc1f4d9000 rw-p 00000000 00:00 0                          [stack]",
			Mapping{0x7ffc1f4b8000, 0x7ffc1f4d9000, "rw-p", 0, 0, "[stack]"},
		},
		"named anonymous with spaces": {
			"1000-2000 ---p 00000000 00:00 0                          [anon: Go: heap]",
			Mapping{0x1000, 0x2000, "---p", 0, 0, "[anon: Go: heap]"},
		},
		"vsyscall": {
			"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
			Mapping{0xffffffffff600000, 0xffffffffff601000, "--xp", 0, 0, "[vsyscall]"},
		},
		"large offset": {
			"1000-2000 r--s 17ffff000 00:06 18446744073709551615 /dev/nvidia0",
			Mapping{0x1000, 0x2000, "r--s", 0x17ffff000, 18446744073709551615, "/dev/nvidia0"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got Mapping
			if err := got.parse([]byte(test.line)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseMappingRefuses(t *testing.T) {
	for _, line := range []string{
		"", " ", "1000-2000", "1000 rw-p 0 0:0 0", "1000-2000 rw-p", "2000-1000 rw-p 0 0:0 0", "1000-1000 rw-p 0 0:0 0",
		"1000-2000 rw 0 0:0 0", "x-2000 rw-p 0 0:0 0", "1000-2000 rw-p z 0:0 0", "1000-2000 rw-p 0 0:0 x",
		"-1000-2000 rw-p 0 0:0 0", "11112222333344445-2 rw-p 0 0:0 0",
	} {
		var m Mapping
		if err := m.parse([]byte(line)); err == nil {
			t.Errorf("%q: %+v, want an error", line, m)
		}
	}
}

// FuzzParseMapping holds the parser to the format that the kernel prints: what it accepts, printed
// again, means the same.
func FuzzParseMapping(f *testing.F) {
	f.Add("7f1c00000000-7f1c00022000 r--p 00001000 fe:01 131 /usr/lib/libc.so.6")
	f.Add("550000000000-550000010000 rw-s 00000000 00:01 5                          /dev/shm/my heap (deleted)")
	f.Add("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]")
	f.Add("1000-2000 rw-p 0 0:0 0")
	f.Add("- - - - - -")
	f.Fuzz(func(t *testing.T, line string) {
		var m, again Mapping
		if m.parse([]byte(line)) != nil {
			return
		}
		if m.Start >= m.End || len(m.Perms) != 4 {
			t.Fatalf("%q: accepted as %+v", line, m)
		}
		printed := fmt.Sprintf("%x-%x %s %08x 00:00 %d %s", m.Start, m.End, m.Perms, m.Offset, m.Inode, m.Path)
		if err := again.parse([]byte(printed)); err != nil || again != m {
			t.Fatalf("%q: %+v, printed and read again %+v, %v", line, m, again, err)
		}
	})
}

func TestScanMappingsStopsAtAnError(t *testing.T) {
	const two = "1000-2000 rw-p 0 0:0 0\n3000-4000 rw-p 0 0:0 0\n"
	enough := errors.New("enough")
	visits := 0
	stop := func(Mapping) error { visits++; return enough }
	if err := scanMappings(strings.NewReader(two), stop); !errors.Is(err, enough) || visits != 1 {
		t.Errorf("visit fails: %v after %d visits", err, visits)
	}
	none := func(Mapping) error { return nil }
	if err := scanMappings(strings.NewReader(two+"junk\n"), none); err == nil {
		t.Error("a bad line passes")
	}
	if err := scanMappings(io.MultiReader(strings.NewReader(two), broken{}), none); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a read error: %v", err)
	}
	long := "1000-2000 rw-p 0 0:0 0 /" + strings.Repeat(`\012`, 4095) + "\n"
	if err := scanMappings(strings.NewReader(long), none); err != nil {
		t.Errorf("the longest path: %v", err)
	}
}

func TestScanMappingsMakesNoGarbage(t *testing.T) {
	line := "550000000000-550000010000 ---p 00000000 00:00 0 \n"
	few, many := strings.NewReader(line), strings.NewReader(strings.Repeat(line, 1000))
	allocations := func(r *strings.Reader) float64 {
		return testing.AllocsPerRun(10, func() {
			_, _ = r.Seek(0, io.SeekStart)
			_ = scanMappings(r, func(Mapping) error { return nil })
		})
	}
	if one, thousand := allocations(few), allocations(many); thousand > one {
		t.Errorf("%.0f allocations for one line, %.0f for a thousand", one, thousand)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestEachMappingAscends(t *testing.T) {
	var last Mapping
	count := 0
	err := EachMapping(func(m Mapping) error {
		if m.Start < last.End || m.Start >= m.End {
			t.Errorf("%+v comes after %+v", m, last)
		}
		last = m
		count++
		return nil
	})
	if errors.Is(err, errors.ErrUnsupported) {
		shmtest.SkipAnywhere(t, fmt.Sprint("this system does not show its mappings:", " ", err))
	}
	if err != nil || count < 5 {
		t.Errorf("%d mappings: %v", count, err)
	}
}
