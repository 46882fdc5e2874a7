package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/internal/guest"
)

// Programs is where programs are in the guest: what tests find by shmtest.Programs.
const Programs = "/programs"

// Add adds files.
func (l *Lab) Add(files ...guest.File) { l.files = append(l.files, files...) }

// Fetch adds files of a package of Debian, at the same path. A pattern stands for the files that match.
func (l *Lab) Fetch(name string, patterns ...string) {
	l.t.Helper()
	dir, err := guest.Fetch(l.Kernel.Arch, name)
	Must(l.t, err)
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			l.t.Fatalf("no %s in %s: %v", pattern, dir, err)
		}
		for _, file := range found {
			host, err := filepath.EvalSymlinks(file) // inside a package they are relative
			Must(l.t, err)
			l.Add(guest.File{Path: strings.TrimPrefix(file, dir), Host: host})
		}
	}
}

// Program compiles a program of this repository for the guest, and returns where it is here.
func (l *Lab) Program(name, pkg string, flags ...string) string {
	l.t.Helper()
	out := l.built(name)
	args := append([]string{"build", "-o", out}, flags...)
	Must(l.t, guest.Build(l.Kernel.Arch, append(args, repository+pkg)...))
	l.Add(guest.File{Path: path.Join(Programs, name), Host: out})
	return out
}

// Compile compiles a C program, whose path is below the root, for the guest.
func (l *Lab) Compile(name, source string, flags ...string) {
	l.t.Helper()
	cc := map[string]string{"amd64": "cc", "arm64": "aarch64-linux-gnu-gcc"}[l.Kernel.Arch]
	if _, err := exec.LookPath(cc); err != nil {
		Must(l.t, fmt.Errorf("%w: %w", guest.ErrNoCompiler, err))
	}
	out := l.built(name)
	args := append([]string{"-O1", "-o", out, filepath.Join(Root, source)}, flags...)
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %v: %v\n%s", cc, args, err, text)
	}
	l.Add(guest.File{Path: path.Join(Programs, name), Host: out})
}

// source is the directory of a package in the guest, or of a file in it.
func source(name string) string { return path.Join("/src", name) }

// addTestdata adds the directory of a package with its test data.
func (l *Lab) addTestdata(pkg string) {
	l.t.Helper()
	l.Add(guest.File{Path: path.Join(source(pkg), ".keep")})
	err := fs.WalkDir(os.DirFS(Root), path.Join(pkg, "testdata"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			l.Add(guest.File{Path: source(name), Host: filepath.Join(Root, name)})
		}
		return err
	})
	if !errors.Is(err, fs.ErrNotExist) {
		Must(l.t, err)
	}
}

// has reports whether the guest has a file.
func (l *Lab) has(path string) bool {
	for _, f := range l.files {
		if f.Path == path {
			return true
		}
	}
	return false
}
