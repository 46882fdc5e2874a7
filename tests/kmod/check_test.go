package kmod

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestSparse builds the module with the compiler's further warnings, and has sparse look at it, for the oldest and the
// newest kernel and both processors.
func TestSparse(t *testing.T) {
	if _, err := exec.LookPath("sparse"); err != nil {
		shmtest.Skip(t, err.Error(), "install sparse")
	}
	for _, k := range []guest.Kernel{
		debian(t, "amd64", "6.1"), debian(t, "amd64", "6.12"), debug(t, "6.18"), debian(t, "arm64", "6.12"),
	} {
		l := &lab{t: t, kernel: k}
		l.build(map[string]string{"kmod": sources["kmod"]}, "W=1", "C=2")
	}
}

// TestCheckpatch has the kernel's own script look at the style of the sources that are compiled for a kernel.
func TestCheckpatch(t *testing.T) {
	source, err := guest.Source("6.12")
	orSkip(t, guest.Kernel{}, err)
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
		found, err := filepath.Glob(filepath.Join(sources["kmod"], pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			inside, err := filepath.Rel(sources["kmod"], file)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, inside)
		}
	}
	if len(files) < 20 {
		t.Fatalf("only %d files: %q", len(files), files)
	}
	return files
}
