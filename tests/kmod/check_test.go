package kmod

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/guest/lab"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestSparse builds the module with the compiler's further warnings, and has sparse look at it, for the oldest and the
// newest kernel and both processors.
func TestSparse(t *testing.T) {
	if _, err := exec.LookPath("sparse"); err != nil {
		shmtest.Skip(t, err.Error(), "install sparse")
	}
	for name, get := range map[string]func(t *testing.T) *lab.Lab{
		"oldest": func(t *testing.T) *lab.Lab { return lab.Debian(t, "amd64", "6.1") },
		"amd64":  func(t *testing.T) *lab.Lab { return lab.Debian(t, "amd64", "6.12") },
		"newest": func(t *testing.T) *lab.Lab { return lab.Debug(t, "6.18") },
		"arm64":  func(t *testing.T) *lab.Lab { return lab.Debian(t, "arm64", "6.12") },
	} {
		t.Run(name, func(t *testing.T) { get(t).Build(map[string]string{"kmod": sources["kmod"]}, "W=1", "C=2") })
	}
}

// clang is what the configuration of a kernel that gcc has built says to make when the compiler is clang: what Kconfig
// finds out about the compiler, and no option that not every clang has. The kernel's header that says the same to the
// preprocessor stays as it is, and gives a variable its address space twice.
var clang = []string{
	"CC=clang", "CONFIG_CC_IS_GCC=", "CONFIG_GCC_VERSION=0", "CONFIG_CC_IS_CLANG=y", "CONFIG_CLANG_VERSION=140000",
	"CONFIG_CC_IMPLICIT_FALLTHROUGH=-Wimplicit-fallthrough", "CONFIG_INIT_STACK_ALL_ZERO=",
	"CONFIG_FTRACE_MCOUNT_USE_CC=", "CONFIG_FTRACE_MCOUNT_USE_OBJTOOL=y",
	"CONFIG_MITIGATION_RETHUNK=", "CONFIG_RETHUNK=", "CONFIG_MITIGATION_SLS=", "CONFIG_SLS=",
	"KCFLAGS=-Wno-duplicate-decl-specifier",
}

// TestClang builds the module with the other compiler of kernels, which warns of other things. Nobody runs it.
func TestClang(t *testing.T) {
	if _, err := exec.LookPath("clang"); err != nil {
		shmtest.Skip(t, err.Error(), "install clang")
	}
	for _, series := range []string{"6.1", "6.12"} {
		t.Run(series, func(t *testing.T) {
			lab.Debian(t, "amd64", series).Build(map[string]string{"kmod": sources["kmod"]}, append(slices.Clone(clang), "W=1")...)
		})
	}
}

// TestCheckpatch has the kernel's own script look at the style of the sources that are compiled for a kernel.
func TestCheckpatch(t *testing.T) {
	source, err := guest.Source("6.12")
	lab.Must(t, err)
	perl, err := exec.LookPath("perl")
	if err != nil {
		shmtest.Skip(t, err.Error(), "install perl")
	}
	files := sourceFiles(t, "*.[ch]", "include/*.h", "samples/*.[ch]", "uapi/*.h")
	// Its options are in .checkpatch.conf of the directory that it runs in.
	cmd := exec.Command(perl, append([]string{filepath.Join(source, "scripts", "checkpatch.pl"), "--terse", "--no-summary", "-f"}, files...)...)
	cmd.Dir = sources["kmod"]
	out, err := cmd.Output() // it complains that it is in no tree of the kernel, on the other one
	if text := strings.TrimSpace(string(out)); err != nil || text != "" {
		t.Errorf("%v\n%s", err, text)
	}
}

// sourceFiles returns the sources of the module that match, relative to where they are.
func sourceFiles(t *testing.T, patterns ...string) (files []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := fs.Glob(os.DirFS(sources["kmod"]), pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files: %q", len(files), files)
	}
	return files
}
