package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

// TestOutputTo only asks for the target: should a device ever count as a file, this must not be how
// root loses it.
func TestOutputTo(t *testing.T) {
	if _, special, err := outputTo(os.DevNull); err != nil || !special {
		t.Errorf("%s: special %t, %v", os.DevNull, special, err)
	}
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	if target, special, err := outputTo(missing); err != nil || special || target != missing {
		t.Errorf("missing: %s, special %t, %v", target, special, err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(missing, dangling); err != nil {
		shmtest.SkipAnywhere(t, err.Error())
	}
	if _, _, err := outputTo(dangling); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dangling: %v", err)
	}
}

// TestStoreProfileBehindSymlink: the file is replaced, and the symlink to it stays.
func TestStoreProfileBehindSymlink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		shmtest.SkipAnywhere(t, err.Error())
	}
	p, err := probe.NewProfile([]string{"server"}, probe.Settings{}, [][]probe.Mapping{nil})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(link, storable(p)); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "file" {
		t.Errorf("the symlink leads to %q, %v", target, err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("file %v, %v", info, err)
	}
}
