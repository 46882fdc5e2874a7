package sys

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
)

// TestWaitReturnsAtOnce: a word that does not hold the value is not waited for.
func TestWaitReturnsAtOnce(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	if err := Wait(m.Half(4), 1, -1); err != nil {
		t.Error(err)
	}
}

func TestWaitTimesOut(t *testing.T) {
	m := mem.Over(make([]byte, 64))
	for _, d := range []time.Duration{0, time.Microsecond, 20 * time.Millisecond} {
		begin := time.Now()
		if err := Wait(m.Half(4), 0, d); !errors.Is(err, ErrTimeout) {
			t.Errorf("wait for %v: %v", d, err)
		}
		if took := time.Since(begin); took < d {
			t.Errorf("wait for %v: took %v", d, took)
		}
	}
}

// TestWakeThroughAnotherMapping: the sleeper and the waker see the word at different addresses.
func TestWakeThroughAnotherMapping(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(path, make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	one, two := mapWords(t, path), mapWords(t, path)
	woken := make(chan error)
	go func() { woken <- Wait(one.Half(128), 0, -1) }()
	two.Half(128).Swap(1)
	for {
		if _, err := Wake(two.Half(128), 1); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-woken:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func mapWords(t *testing.T, path string) mem.Memory {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, err := ReserveHint(0, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	m, err := MapFile(f, at, 1<<16, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Unmap(at, 1<<16) })
	return mem.At(m, 1<<16)
}
