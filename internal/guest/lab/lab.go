package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// Root is the root of the repository, for the tests that use this package.
const Root = "../.."

const repository = "github.com/shmheap/shmheap/"

// Lab is a guest to be, of a test.
type Lab struct {
	Kernel guest.Kernel
	Guest  guest.Guest // what is special about the machine; the rest of it is filled in

	t       *testing.T
	dir     string   // for what is built
	modules []string // of this repository: data races and leaks in others do not count
	files   []guest.File
	steps   []step
}

// step is a step of the guest, which has to end with status 0, and what else is to be seen of it.
type step struct {
	guest.Step
	judge   func(guest.StepResult) (problems []string) // nil finds none
	planted string                                     // how the kernel must complain, a regular expression; "" is not at all
}

// missing is what a machine can lack, and what to do about it.
var missing = []struct {
	err     error
	install string
}{
	{guest.ErrNoEmulator, "install qemu-system-x86 and qemu-system-arm"},
	{guest.ErrNoCompiler, "install gcc-12, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross"},
	{guest.ErrCannotFetch, "test on Debian with a network, or fill the cache: see internal/guest"},
}

// Must ends the test for an error: it is skipped where the machine lacks something, and fails otherwise. What no machine
// can have any more is not the machine's fault.
func Must(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, guest.ErrNoSeries) {
		shmtest.SkipAnywhere(t, err.Error())
	}
	for _, m := range missing {
		if errors.Is(err, m.err) {
			shmtest.Skip(t, err.Error(), m.install)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Debian returns a lab with a kernel of Debian.
func Debian(t *testing.T, arch, series string) *Lab {
	t.Helper()
	return newLab(t, func() (guest.Kernel, error) { return guest.Debian(arch, series) })
}

// Debug returns a lab with a kernel that is built here. That takes minutes when the cache has none.
func Debug(t *testing.T, name string) *Lab {
	t.Helper()
	return newLab(t, func() (guest.Kernel, error) {
		return guest.Debug(name, func(line string) { t.Log("note: " + line) })
	})
}

// LargePages returns a lab for arm64 with pages of 64 KiB. Debian has no such kernel, so one is built, which takes a fresh
// machine minutes: the test is skipped unless SHMHEAP_GUEST=full asks for it.
func LargePages(t *testing.T) *Lab {
	t.Helper()
	if os.Getenv("SHMHEAP_GUEST") != "full" {
		shmtest.SkipAnywhere(t, "a kernel with pages of 64 KiB is built and tested with SHMHEAP_GUEST=full")
	}
	return Debug(t, "64k")
}

func newLab(t *testing.T, get func() (guest.Kernel, error)) *Lab {
	t.Helper()
	for _, arch := range []string{"amd64", "arm64"} { // before minutes are spent
		_, err := guest.Emulator(arch)
		Must(t, err)
	}
	kernel, err := get()
	Must(t, err)
	return &Lab{Kernel: kernel, t: t, dir: t.TempDir()}
}

func (l *Lab) add(s step) {
	if s.Timeout == 0 {
		s.Timeout = 10 * time.Minute
	}
	l.steps = append(l.steps, s)
}

// Run boots the guest and fails the test for each step that fails, and for all that the kernel complains of.
func (l *Lab) Run() *guest.Result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 40*time.Minute)
	defer cancel()
	begin := time.Now()
	r, err := l.Boot(ctx)
	if err != nil {
		l.t.Fatalf("%v\n%s", err, strings.Join(r.Trouble(l.modules...), "\n"))
	}
	l.t.Logf("note: %s/%s: %d steps in %.0f s, boots: %d", l.Kernel.Arch, l.Kernel.Release, len(r.Steps), time.Since(begin).Seconds(), r.Boots)
	for _, c := range l.complaints(r.Boot) {
		l.t.Errorf("boot: %s", c)
	}
	for i, s := range r.Steps {
		for _, n := range notes(s) {
			l.t.Logf("note: %s: %s", s.Name, n)
		}
		for _, p := range l.problems(l.steps[i], s) {
			l.t.Errorf("step %s: %s", s.Name, p)
		}
	}
	return r
}

// Boot boots the guest and judges nothing: for tests that switch it off, or do something else meanwhile.
func (l *Lab) Boot(ctx context.Context) (*guest.Result, error) {
	g := l.Guest
	g.Arch, g.Kernel, g.Files = l.Kernel.Arch, l.Kernel.Image, l.files
	for _, s := range l.steps {
		g.Steps = append(g.Steps, s.Step)
	}
	return g.Run(ctx)
}

// problems returns what is wrong with how a step went.
func (l *Lab) problems(want step, got guest.StepResult) (all []string) {
	if got.Status != 0 {
		all = append(all, fmt.Sprintf("status %d, late %t\n%s", got.Status, got.Late, got.Output))
	}
	if want.judge != nil {
		all = append(all, want.judge(got)...)
	}
	complaints := l.complaints(got.Kernel)
	switch {
	case want.planted == "":
		all = append(all, complaints...)
	case !regexp.MustCompile(want.planted).MatchString(strings.Join(complaints, "\n")):
		all = append(all, "the planted bug was not found:\n"+strings.Join(got.Kernel, "\n"))
	}
	return all
}

// complaints returns those of the kernel, each with what stands around it in the log.
func (l *Lab) complaints(log []string) (all []string) {
	const before, behind = 6, 20
	for _, line := range guest.Complaints(log, l.modules) {
		at := slices.Index(log, line)
		around := log[max(0, at-before):min(len(log), at+behind)]
		all = append(all, "the kernel says: "+line+"\n"+strings.Join(around, "\n"))
	}
	return all
}

// built returns where something is built.
func (l *Lab) built(name string) string { return filepath.Join(l.dir, name) }
