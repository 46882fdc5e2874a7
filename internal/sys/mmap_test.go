//go:build linux || darwin

package sys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/internal/mem"
)

const span = 1 << 20

// reservation returns the address of span bytes that the kernel chose.
func reservation(t *testing.T) uint64 {
	t.Helper()
	base, err := ReserveHint(0, span)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmap(base, span); err != nil {
			t.Error(err)
		}
	})
	return base
}

func TestReserveHintAvoidsWhatIsThere(t *testing.T) {
	base := reservation(t)
	at, err := ReserveHint(base, span)
	if err != nil {
		t.Fatal(err)
	}
	if at == base {
		t.Errorf("%#x given away twice", base)
	}
	if err := Unmap(at, span); err != nil {
		t.Error(err)
	}
}

func TestReserveNoReplace(t *testing.T) {
	if !HasNoReplace {
		if _, err := ReserveNoReplace(span, span); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v, want ErrUnsupported", err)
		}
		return
	}
	base := reservation(t)
	for _, want := range []uint64{base, base - span/2, base + span/2} {
		got, err := ReserveNoReplace(want, span)
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil || got == want:
			t.Errorf("at %#x over [%#x, %#x): %#x, %v, want fs.ErrExist", want, base, base+span, got, err)
		default: // the flag was ignored, as by old kernels and qemu-user, and nothing was replaced
			t.Logf("at %#x: %#x", want, got)
		}
		if err := Unmap(got, span); err != nil {
			t.Error(err)
		}
	}
}

func TestMapFileThenNone(t *testing.T) {
	base := reservation(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(span); err != nil {
		t.Fatal(err)
	}
	p, err := MapFile(f, base, span, true)
	if err != nil {
		t.Fatal(err)
	}
	memory := mem.At(p, span)
	if uint64(memory.Base()) != base {
		t.Errorf("mapped at %#x, want %#x", memory.Base(), base)
	}
	copy(memory.Bytes(span-5, 5), "hello")
	got := make([]byte, 5)
	if _, err := f.ReadAt(got, span-5); err != nil || string(got) != "hello" {
		t.Errorf("file holds %q, %v", got, err)
	}
	if err := MapNone(base, span); err != nil {
		t.Error(err)
	}
	if perms := permsAt(t, base); perms != "---p" {
		t.Errorf("%q after MapNone", perms)
	}
}

func permsAt(t *testing.T, address uint64) (perms string) {
	t.Helper()
	err := EachMapping(func(m Mapping) error {
		if m.Start <= address && address < m.End {
			perms = m.Perms
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return perms
}

func TestMapFileReportsErrors(t *testing.T) {
	base := reservation(t)
	if _, err := MapFile(nil, base, span, true); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("nil file: %v", err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := MapFile(f, base, span, false); err == nil {
		t.Errorf("%s was mapped", os.DevNull)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := MapFile(f, base, span, false); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed file: %v", err)
	}
}

func TestLimits(t *testing.T) {
	if n, err := AddressLimit(); err != nil || n == 0 {
		t.Errorf("address limit %d, %v", n, err)
	}
	if n, err := MapCountLimit(); err != nil || n < 1000 {
		t.Errorf("map count limit %d, %v", n, err)
	}
}

func TestPageSize(t *testing.T) {
	if n := PageSize(); n < 4096 || n&(n-1) != 0 {
		t.Errorf("page of %d bytes", n)
	}
}
