package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// blocks returns the fenced blocks of the README's section with this heading, each with what its fence says.
func blocks(t *testing.T, heading string) (all [][2]string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the README has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for {
		_, rest, found := strings.Cut(section, "\n```")
		if !found {
			return all
		}
		kind, rest, _ := strings.Cut(rest, "\n")
		text, after, closed := strings.Cut(rest, "```")
		if !closed {
			t.Fatalf("a block of section %q does not end", heading)
		}
		all = append(all, [2]string{kind, text})
		section = after
	}
}

// TestProgram does what the README tells a new user to do, to the letter, beside a clone: the module, the program, and
// the commands, the last of which show and remove the heap.
func TestProgram(t *testing.T) {
	all := blocks(t, "A program of two processes")
	if len(all) != 3 || all[0][0] != "" || all[1][0] != "go" || all[2][0] != "" {
		t.Fatalf("the section has other blocks than commands, a program, commands: %q", all)
	}
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(dir, "shmheap")); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	env := append(os.Environ(), "SHMHEAP_DIR="+filepath.Join(dir, "heaps"), "GOBIN="+bin, "GOFLAGS=", "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	run(t, root, env, "go", "install", "./cmd/shmheap")
	run(t, dir, env, "sh", "-e", "-c", all[0][1])
	hello := filepath.Join(dir, "hello")
	if err := os.WriteFile(filepath.Join(hello, "main.go"), []byte(all[1][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, hello, env, "sh", "-e", "-c", all[2][1])
	for _, want := range []string{"apples 43\npears 42\n", "first ", "main.Order", "removed orders\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in what it prints:\n%s", want, got)
		}
	}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
