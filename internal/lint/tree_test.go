package lint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

func paths(t *tree) (all, sources []string) {
	for _, x := range t.texts {
		all = append(all, x.path)
	}
	for _, s := range t.sources {
		sources = append(sources, s.path)
	}
	return all, sources
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoad reads tracked and new files, and neither ignored nor deleted nor binary ones.
func TestLoad(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		shmtest.Skip(t, err.Error(), "install git")
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{
		".gitignore": "*.out\n", "tracked.go": "package a\n", "deleted.go": "package a\n",
		"x.out": "ignored\n", "binary": "\x00\n",
	})
	for _, args := range []string{"init -q", "add ."} {
		cmd := exec.Command("git", append([]string{"-C", dir}, strings.Fields(args)...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	write(t, dir, map[string]string{"new.go": "package a\n"})
	if err := os.Remove(filepath.Join(dir, "deleted.go")); err != nil {
		t.Fatal(err)
	}
	tree, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := paths(tree)
	if got, want := strings.Join(all, " "), ".gitignore new.go tracked.go"; got != want {
		t.Errorf("texts %q, want %q", got, want)
	}
}

func TestLoadNowhere(t *testing.T) {
	if _, err := load(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, errNoList) {
		t.Errorf("error %v, want %v", err, errNoList)
	}
}

// TestSources parses what belongs to the module and nothing else.
func TestSources(t *testing.T) {
	tree, err := newTree([]text{
		{"heap/heap.go", "package heap"}, {"root.go", "package root"}, {"README.md", "words"},
		{"heap/testdata/x.go", "not Go"}, {".ci/x.go", "not Go"}, {"_old/x.go", "not Go"},
		{"bench/go.mod", "module bench"}, {"bench/in/x.go", "not Go"}, {"go.mod", "module m"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, sources := paths(tree)
	if got, want := strings.Join(sources, " "), "heap/heap.go root.go"; got != want {
		t.Errorf("sources %q, want %q", got, want)
	}
}

func TestSyntaxError(t *testing.T) {
	_, err := newTree([]text{{"heap/heap.go", "package heap\nfunc"}})
	if err == nil || !strings.HasPrefix(err.Error(), "heap/heap.go:2:") {
		t.Errorf("error %v, want one at heap/heap.go:2", err)
	}
}
