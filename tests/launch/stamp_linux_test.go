package launch

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stampIt runs "shmheap stamp" on a file, for the range of the tests.
func stampIt(t *testing.T, args ...string) result {
	t.Helper()
	return start(t, append([]string{program("shmheap"), "stamp", "--base", base, "--size", tib}, args...)...)
}

// TestStampedProgramsStart: also from a shell that knows nothing of shmheap.
func TestStampedProgramsStart(t *testing.T) {
	programs := map[string][]string{"go-static": {program("go-static"), "range", base, size}}
	for _, name := range []string{"no-pie", "static"} {
		programs[name] = []string{compile(t, "adopt.c", name, cKinds[name]...), base, size}
	}
	for name, args := range programs {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "stamped")
			stampIt(t, args[0], "-o", out).want(t, 0, "")
			args[0] = out
			if got := count(t, starts, args...); got["adopted"] != starts {
				t.Errorf("%v, want adopted %d times", got, starts)
			}
		})
	}
}

func TestStampInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	original := read(t, program("go-static"))
	write(t, path, string(original), 0o755)
	if err := os.Chmod(path, 0o710); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is stamped already
		stampIt(t, link, "-o", link).want(t, 0, "")
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o710 || info.Size() != int64(len(original)) {
		t.Errorf("mode and size: %v, %v", info, err)
	}
	if got := count(t, starts, path, "range", base, size); got["adopted"] != starts {
		t.Errorf("%v", got)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".shmheap*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	other := start(t, program("shmheap"), "stamp", path, "--base", base, "--size", "1GiB")
	other.want(t, 1, "stamped with [0x100000000000, 0x200000000000) already")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestStampRefuses(t *testing.T) {
	dir := t.TempDir()
	setuid := write(t, filepath.Join(dir, "setuid"), string(read(t, program("go-static"))), 0o755)
	if err := os.Chmod(setuid, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"position-independent (PIE)": program("go-pie"),
		"static PIE or a shared":     compile(t, "adopt.c", "static-pie", cKinds["static-pie"]...),
		"no ELF file":                write(t, filepath.Join(dir, "script"), "#!/bin/sh\n"+strings.Repeat("#", 100), 0o755),
		"no complete ELF file":       write(t, filepath.Join(dir, "short"), "\x7fELF", 0o755),
		"no such file":               filepath.Join(dir, "missing"),
		"privileges of its own":      setuid,
	} {
		stampIt(t, path).want(t, 1, want)
		if _, err := os.Stat(path + ".stamped"); err == nil {
			t.Errorf("%s was made", path+".stamped")
		}
	}
	low := start(t, program("shmheap"), "stamp", program("go-static"), "--base", "0x10000", "--size", "1GiB")
	low.want(t, 1, "its own code or data lies at")
	start(t, program("shmheap"), "stamp", program("go-static")).want(t, 2, "nothing to reserve")
}

func TestStampPrintsJSON(t *testing.T) {
	dir := heapDir(t)
	makeHeap(t, dir, "orders", "0x120000000000", "16MiB")
	path := write(t, filepath.Join(t.TempDir(), "program"), string(read(t, program("go-static"))), 0o755)
	r := start(t, program("shmheap"), "stamp", "--json", "--dir", dir, "--heap", "orders", path)
	r.want(t, 0, "")
	var got struct {
		Path     string
		Reserved []struct {
			Base string
			Size uint64
		}
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Path != path+".stamped" || len(got.Reserved) != 1 || got.Reserved[0].Base != "0x120000000000" || got.Reserved[0].Size != 16<<20 {
		t.Errorf("%+v", got)
	}
	if !bytes.Equal(read(t, path), read(t, program("go-static"))) {
		t.Error("the program itself was changed")
	}
	t.Setenv("SHMHEAP_DIR", dir)
	if r := start(t, got.Path, "heap", "orders"); !strings.HasPrefix(r.out, "open") {
		t.Errorf("%q", r.out)
	}
}
