//go:build !crashpoint && !shmheap_portable

package proof

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// cc returns a compiler, once it has built an empty program with the flags: it may lack the library
// that they need.
func cc(t *testing.T, name string, flags ...string) string {
	t.Helper()
	install := map[string]string{"gcc": "install gcc and libc6-dev", "clang": "install clang and libclang-rt-dev"}[name]
	path, err := exec.LookPath(name)
	for _, version := range []string{"-20", "-19", "-18", "-17", "-16", "-15", "-14"} {
		if err != nil {
			path, err = exec.LookPath(name + version)
		}
	}
	if err != nil {
		shmtest.Skip(t, "no "+name, install)
	}
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.c")
	if err := os.WriteFile(empty, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-o", filepath.Join(dir, "empty"), empty}, flags...)
	if text, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		shmtest.Skip(t, name+" lacks what it needs for "+strings.Join(flags, " ")+"\n"+string(text), install)
	}
	return path
}

// cProgram builds testdata/attach.c.
func cProgram(compiler string, flags ...string) func(*testing.T) []string {
	return func(t *testing.T) []string { return []string{compile(t, compiler, "attach", flags...)} }
}

// library builds testdata/attach.c as one that attaches when it is loaded.
func library(t *testing.T) string {
	t.Helper()
	return compile(t, "gcc", "attach.so", "-shared", "-fPIC", "-DPRELOAD")
}

func compile(t *testing.T, compiler, name string, flags ...string) string {
	t.Helper()
	path := cc(t, compiler, flags...)
	out := filepath.Join(t.TempDir(), name)
	args := []string{"-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", out, filepath.Join("testdata", "attach.c")}
	output(t, exec.Command(path, append(append(args, flags...), defines()...)...))
	return out
}

// goProgram builds the program in attach. compiler is the C compiler that the build needs, if any.
func goProgram(compiler, env string, flags ...string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		t.Helper()
		out := filepath.Join(t.TempDir(), "attach")
		cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), "./attach")...)
		cmd.Env = append(os.Environ(), env)
		if compiler != "" {
			cmd.Env = append(cmd.Env, "CC="+cc(t, compiler, cFlags(flags)...))
		}
		output(t, cmd)
		return []string{out}
	}
}

// cFlags returns what the C compiler must be able to do for a build with these flags.
func cFlags(flags []string) []string {
	for _, f := range flags {
		switch f {
		case "-asan":
			return []string{"-fsanitize=address"}
		case "-msan":
			return []string{"-fsanitize=memory"}
		}
	}
	return nil
}
