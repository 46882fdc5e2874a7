package kmod

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// TestUnavailable: each reason for which there is no device has an error of its own, and says what to do.
func TestUnavailable(t *testing.T) {
	if runtime.GOOS != "linux" {
		if _, err := Open(); !errors.Is(err, ErrPlatform) || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v", err)
		}
		return
	}
	_, err := openDevice(filepath.Join(t.TempDir(), "missing"))
	e, ok := errors.AsType[*UnavailableError](err)
	if !ok || e.Help == "" || !errors.Is(err, ErrNoModule) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := unavailable(fs.ErrPermission); !errors.Is(err, ErrPermission) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("forbidden: %v", err)
	}
	if err := checkVersion(Version + 1); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version: %v", err)
	}
	if err := checkVersion(Version); err != nil {
		t.Errorf("version: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := openDevice(file); err == nil || d != nil {
		t.Errorf("a file is taken for the device: %v", err)
	}
}

func TestInstanceOptions(t *testing.T) {
	long := strings.Repeat("x", nameSize-1)
	a, err := (&InstanceOptions{Mode: 0o660, StreamOrder: 3}).arguments(long)
	if err != nil || a.Mode != 0o660 || a.StreamSlot != shortestSlot || a.StreamOrder != 3 || a.Name[nameSize-1] != 0 || a.Flags != flagNonblock {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := (*InstanceOptions)(nil).arguments("a"); err != nil || a.StreamOrder != 0 || a.StreamSlot != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	for _, name := range []string{"", long + "x", "a/b", "a b", "a\x00", "\xff"} {
		if _, err := (&InstanceOptions{}).arguments(name); !errors.Is(err, ErrOptions) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, o := range []InstanceOptions{{StreamOrder: -1}, {StreamOrder: 17}, {StreamOrder: 1, StreamSlot: 8192}} {
		if _, err := o.arguments("a"); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestChannelOptions(t *testing.T) {
	if v, err := (&ChannelOptions{Capacity: 16}).orDefault(); err != nil || v.Blocks != 16 || v.Block != 512 {
		t.Errorf("%+v, %v", v, err)
	}
	for _, o := range []ChannelOptions{{Block: 24}, {Block: 36}, {Block: 1 << 17}, {Blocks: -1}, {Blocks: 300}, {Kind: 1}} {
		if _, err := o.orDefault(); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// stored is a record as read gives it.
func stored(seq uint64, kind uint16, data string) []byte {
	b := make([]byte, recordHeader+(len(data)+7)&^7)
	binary.NativeEndian.PutUint64(b, seq)
	binary.NativeEndian.PutUint64(b[8:], 77)
	binary.NativeEndian.PutUint16(b[16:], uint16(len(data)))
	binary.NativeEndian.PutUint16(b[18:], kind)
	binary.NativeEndian.PutUint32(b[20:], 3)
	copy(b[recordHeader:], data)
	return b
}

func TestParseRecord(t *testing.T) {
	both := append(stored(5, 7, "hello"), stored(0, recordLost, "\x09\x00\x00\x00\x00\x00\x00\x00")...)
	r, rest, err := parseRecord(both)
	if err != nil || r.Seq != 4 || r.Time != 77 || r.CPU != 3 || r.Type != 7 || string(r.Data) != "hello" || r.Lost != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, rest, err = parseRecord(rest); err != nil || r.Lost != 9 || r.CPU != 3 || len(rest) != 0 {
		t.Errorf("%+v, %d bytes left, %v", r, len(rest), err)
	}
	for n := 1; n < 32; n++ {
		if _, _, err := parseRecord(both[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := parseRecord(stored(0, recordLost, "four")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short loss: %v", err)
	}
}

// TestAwait: who waits for a descriptor is woken by it, and by the end of its context, and the descriptor can be
// waited for again.
func TestAwait(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	busy := errors.New("busy")
	var full atomic.Bool
	try := func() error {
		if !full.Load() {
			return busy
		}
		return nil
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := await(ctx, r, sys.Readable, busy, try); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	go func() {
		time.Sleep(time.Millisecond)
		full.Store(true)
		_, _ = w.Write([]byte{1})
	}()
	if err := await(t.Context(), r, sys.Readable, busy, try); err != nil {
		t.Errorf("%v", err)
	}
	wrong := errors.New("wrong")
	if err := await(t.Context(), r, sys.Readable, busy, func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
}

func TestWrap(t *testing.T) {
	for _, m := range meanings {
		if err := wrap("do", "it", m.errno); !errors.Is(err, m.meaning) || !errors.Is(err, m.errno) {
			t.Errorf("%v: %v", m.errno, err)
		}
	}
	if err := wrap("do", "it", nil); err != nil {
		t.Errorf("%v", err)
	}
}

// TestSources: the command can build the module from what the package carries.
func TestSources(t *testing.T) {
	for _, name := range []string{"Kbuild", "main.c", "uapi/shmheap_kmod.h", "include/shmheap_kernel.h"} {
		if _, err := fs.Stat(Sources(), name); err != nil {
			t.Error(err)
		}
	}
}
