package kmod

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest/lab"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// dkms calls it with directories of its own.
type dkms struct{ tree, sources, modules string }

func newDKMS(t *testing.T) dkms {
	t.Helper()
	if os.Getuid() != 0 {
		shmtest.SkipAnywhere(t, "dkms serves root alone")
	}
	if _, err := exec.LookPath("dkms"); err != nil {
		shmtest.Skip(t, err.Error(), "install dkms")
	}
	return dkms{t.TempDir(), t.TempDir(), t.TempDir()}
}

// run calls dkms for the kernel of a lab under a release's name, and returns what it says.
func (d dkms) run(l *lab.Lab, release string, args ...string) (string, error) {
	own := []string{
		"--dkmstree", d.tree, "--sourcetree", d.sources, "--installtree", d.modules, "-k", release,
		"--kernelsourcedir", l.Kernel.Build, "--no-depmod",
	}
	out, err := exec.Command("dkms", append(args, own...)...).CombinedOutput()
	return string(out), err
}

// TestDKMS has dkms do what it does when a kernel is installed that does not run yet: it builds the module for that kernel.
// One that is too old is not even tried, as the kernel's own installation would fail with it.
func TestDKMS(t *testing.T) {
	d, l := newDKMS(t), lab.Debian(t, runtime.GOARCH, "6.12")
	if out, err := d.run(l, l.Kernel.Release, "add", sources["kmod"]); err != nil {
		t.Fatalf("add: %v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(d.modules, l.Kernel.Release), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := d.run(l, l.Kernel.Release, "autoinstall"); err != nil {
		t.Fatalf("autoinstall: %v\n%s\n%s", err, out, d.log())
	}
	files, err := filepath.Glob(filepath.Join(d.modules, l.Kernel.Release, "updates", "*", "*.ko*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("installed %q, want shmheap alone: %v", files, err)
	}
	magic, err := exec.Command("modinfo", "-F", "vermagic", files[0]).Output()
	if !strings.HasPrefix(string(magic), l.Kernel.Release+" ") {
		t.Errorf("%s is for %q, want %s: %v", files[0], magic, l.Kernel.Release, err)
	}
	const excluded = 77 // what dkms ends with then
	out, err := d.run(l, "5.10.0-1-amd64", "build", "shmheap/1")
	if e := (*exec.ExitError)(nil); !errors.As(err, &e) || e.ExitCode() != excluded {
		t.Errorf("for 5.10 it is built: %v\n%s", err, out)
	}
}

// log returns what make has said when a build failed.
func (d dkms) log() string {
	text, _ := os.ReadFile(filepath.Join(d.tree, "shmheap", "1", "build", "make.log"))
	return string(text)
}
