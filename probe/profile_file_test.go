package probe

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of this package")

// golden compares got with a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; look at it and write it with: go test ./probe -run '^%s$' -update\n%s", path, t.Name(), diff)
	}
}

// exampleProfile is small enough to be read.
func exampleProfile(t testing.TB) *Profile {
	p, err := NewProfile([]string{"prog", "-x", "<y>"}, exampleSettings, simulate(25, 4))
	if err != nil {
		t.Fatal(err)
	}
	p.Made, p.Unsettled, p.Ended = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 2, 1
	return p
}

func written(t testing.TB, p *Profile) []byte {
	var b bytes.Buffer
	if err := WriteProfile(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestProfileFile(t *testing.T) {
	p := exampleProfile(t)
	text := written(t, p)
	golden(t, "profile.json", text)
	read, err := ReadProfile(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, read); diff != "" {
		t.Error(diff)
	}
	if read, err = LoadProfile(filepath.Join("testdata", "profile.json")); err != nil || !cmp.Equal(p, read) {
		t.Errorf("from the file: %v", err)
	}
}

func TestDamagedProfiles(t *testing.T) {
	good := string(written(t, exampleProfile(t)))
	for _, test := range []struct{ name, old, new, want string }{
		{"format", `"shmheap-profile-1"`, `"other"`, "format is"},
		{"n", `"n": 25`, `"n": 26`, "n is 26"},
		{"program", `"program"`, `"p"`, "no program"},
		{"resolution", `"resolution": 1048576`, `"resolution": 1`, "resolution"},
		{"unsettled", `"unsettled": 2`, `"unsettled": 99`, "unsettled"},
		{"bits", `"address_bits": 47`, `"address_bits": -1`, "address bits"},
		{"type", `"n": 25`, `"n": "many"`, "cannot unmarshal"},
		{"hexadecimal", `"400000-590000 `, `"40000x-590000 `, "invalid syntax"},
		{"no end", `"400000-590000 `, `"400000 `, "invalid syntax"},
		{"empty", `"400000-590000 `, `"400000-400000 `, "bad range"},
		{"unaligned", `"400000-590000 `, `"400001-590000 `, "bad range"},
		{"kernel", `"400000-590000 `, `"400000-8000000000010000 `, "bad range"},
		{"order", `"400000-590000 `, `"7fffff000000-7fffff590000 `, "not above"},
		{"distance", `"400000-590000 `, `"400000-590000 5a0000-5b0000 `, "not above"},
		{"start", `"start": "0x400000"`, `"start": "here"`, "invalid syntax"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := strings.Replace(good, test.old, test.new, 1)
			if bad == good {
				t.Fatal("nothing was replaced")
			}
			if _, err := ReadProfile(strings.NewReader(bad)); !errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	for _, bad := range []string{"", "{}", "null", "[]", "text", good[:len(good)/2]} {
		if _, err := ReadProfile(strings.NewReader(bad)); !errors.Is(err, ErrProfile) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestProfileThatCannotBeRead(t *testing.T) {
	if _, err := LoadProfile(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := LoadProfile(t.TempDir()); err == nil || errors.Is(err, ErrProfile) {
		t.Errorf("directory: %v", err)
	}
	if _, err := ReadProfile(iotest.ErrReader(io.ErrUnexpectedEOF)); err == nil {
		t.Error("broken reader: no error")
	}
	endless := io.MultiReader(strings.NewReader(`{"format":"`), endlessReader{})
	if _, err := ReadProfile(endless); !errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("endless: %v", err)
	}
}

type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func FuzzReadProfile(f *testing.F) {
	f.Add(written(f, exampleProfile(f)))
	f.Add([]byte(`{"format":"shmheap-profile-1","program":["x"],"n":1,"resolution":1048576,"runs":["0-10000"]}`))
	f.Add([]byte(`{"format":"shmheap-profile-1","program":["x"],"n":2,"resolution":1048576,"runs":["0-10000 110000-8000000000000000",""]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ReadProfile(bytes.NewReader(text))
		if err != nil {
			return
		}
		if e := p.Collision(Range{0, 1 << 47}); e.Hits > e.Runs || e.Runs != len(p.Runs) {
			t.Errorf("collision %+v", e)
		}
		_ = Check(Range{0x5500_0000_0000, 0x5501_0000_0000}, []Occupant{p.Occupant("p")})
		again, err := ReadProfile(bytes.NewReader(written(t, p)))
		if err != nil {
			t.Fatalf("what was read and written: %v", err)
		}
		if diff := cmp.Diff(p.Runs, again.Runs); diff != "" {
			t.Error(diff)
		}
	})
}
