package kmod

import (
	"context"
	"errors"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

const (
	repository = "github.com/shmheap/shmheap/"
	root       = "../.."
)

// lab is a machine to be: a kernel, the modules that are built for it, and what runs in it.
type lab struct {
	t       *testing.T
	kernel  guest.Kernel
	modules []string // whose data races count
	files   []guest.File
	steps   []guest.Step
	guest   guest.Guest // what is special about the machine
}

// newLab skips the test where there is no emulator.
func newLab(t *testing.T, kernel guest.Kernel) *lab {
	t.Helper()
	if _, err := guest.Emulator(kernel.Arch); err != nil {
		shmtest.Skip(t, err.Error(), "install qemu-system-x86 and qemu-system-arm")
	}
	return &lab{t: t, kernel: kernel}
}

// debian returns a kernel of Debian, or skips the test where it is neither there nor to be had.
func debian(t *testing.T, arch, series string) guest.Kernel {
	t.Helper()
	k, err := guest.Debian(arch, series)
	return orSkip(t, k, err)
}

// debug returns a kernel that watches itself.
func debug(t *testing.T, name string) guest.Kernel {
	t.Helper()
	k, err := guest.Debug(name, func(line string) { t.Log("note: " + line) })
	return orSkip(t, k, err)
}

func orSkip(t *testing.T, k guest.Kernel, err error) guest.Kernel {
	t.Helper()
	if errors.Is(err, guest.ErrCannotFetch) {
		shmtest.Skip(t, err.Error(), "test on Debian with a network, or fill the cache")
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// build builds the modules of source trees, name and directory, without a warning.
func (l *lab) build(trees map[string]string, args ...string) {
	l.t.Helper()
	built, err := l.kernel.Modules(trees, args...)
	if errors.Is(err, guest.ErrNoCompiler) {
		shmtest.Skip(l.t, err.Error(), "install gcc-12 and gcc-aarch64-linux-gnu")
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if w := built.Warnings(); len(w) > 0 {
		l.t.Errorf("the compiler warns:\n%s", strings.Join(w, "\n"))
	}
	for _, file := range built.Files {
		name := strings.TrimSuffix(filepath.Base(file), ".ko")
		l.modules = append(l.modules, name)
		l.files = append(l.files, guest.File{Path: guest.ModulePath(name), Host: file})
	}
}

// step adds a step that must succeed.
func (l *lab) step(name string, args ...string) {
	l.steps = append(l.steps, guest.Step{Name: name, Args: args, Timeout: 10 * time.Minute})
}

func (l *lab) insert(name string, parameters ...string) {
	l.steps = append(l.steps, guest.Insert(name, parameters...))
}

func (l *lab) remove(name string) { l.steps = append(l.steps, guest.Remove(name)) }

// plant adds the steps that make a bug happen.
func (l *lab) plant(bug string) {
	insert, remove := guest.Insert("planted", "bug="+bug), guest.Remove("planted")
	insert.Name, remove.Name = "plant-"+bug, "unplant-"+bug
	l.steps = append(l.steps, insert, remove)
}

// run boots the machine and returns what it did. Each step must have succeeded.
func (l *lab) run() *guest.Result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 40*time.Minute)
	defer cancel()
	g := l.guest
	g.Arch, g.Kernel, g.Files, g.Steps = l.kernel.Arch, l.kernel.Image, l.files, l.steps
	begin := time.Now()
	r, err := g.Run(ctx)
	if err != nil {
		l.t.Fatalf("%v\n%s", err, strings.Join(r.Trouble(l.modules...), "\n"))
	}
	l.t.Logf("note: %s/%s: %d steps in %.0f s, boots: %d", l.kernel.Arch, l.kernel.Release, len(r.Steps), time.Since(begin).Seconds(), r.Boots)
	for _, s := range r.Steps {
		if s.Status != 0 {
			l.t.Errorf("step %s: status %d, late %t\n%s", s.Name, s.Status, s.Late, s.Output)
		}
		for line := range strings.Lines(s.Output) {
			if _, note, ok := strings.Cut(line, ": note: "); ok {
				l.t.Logf("note: %s: %s", s.Name, strings.TrimSpace(note))
			}
		}
	}
	return r
}

// quiet fails the test for each complaint of the kernel in a step that is not a planted bug.
func (l *lab) quiet(r *guest.Result) {
	l.t.Helper()
	for _, s := range r.Steps {
		if strings.HasPrefix(s.Name, "plant-") {
			continue
		}
		for _, line := range guest.Complaints(s.Kernel, l.modules) {
			l.t.Errorf("step %s: the kernel says: %s\n%s", s.Name, line, around(s.Kernel, line))
		}
	}
	if s, ok := r.Step("leaks"); ok {
		for _, leak := range guest.Leaks(s.Output, l.modules) {
			l.t.Errorf("leaked:\n%s", leak)
		}
	}
}

// around returns what stands around a line in a log.
func around(lines []string, line string) string {
	const before, behind = 6, 20
	at := slices.Index(lines, line)
	return strings.Join(lines[max(0, at-before):min(len(lines), at+behind)], "\n")
}

// wantFound fails the test unless the kernel complained of a planted bug.
func (l *lab) wantFound(r *guest.Result, bug, pattern string) {
	l.t.Helper()
	s, ok := r.Step("plant-" + bug)
	complaints := strings.Join(guest.Complaints(s.Kernel, l.modules), "\n")
	if !ok || !regexp.MustCompile(pattern).MatchString(complaints) {
		l.t.Errorf("the planted bug %s was not found: %q\n%s", bug, complaints, strings.Join(s.Kernel, "\n"))
	}
}

// tests compiles the tests of a package for the machine and adds the step that runs them.
func (l *lab) tests(pkg string, env ...string) {
	l.t.Helper()
	out := filepath.Join(l.t.TempDir(), path.Base(binary(pkg)))
	if err := guest.Build(l.kernel.Arch, "test", "-vet=off", "-c", "-o", out, repository+pkg); err != nil {
		l.t.Fatal(err)
	}
	l.files = append(l.files, guest.File{Path: binary(pkg), Host: out})
	l.again(pkg, strings.ReplaceAll(pkg, "/", "-"), "", env...)
}

// again runs tests of a package that are in the machine already: those that a pattern matches.
func (l *lab) again(pkg, name, pattern string, env ...string) {
	const timeout = 20 * time.Minute
	l.steps = append(l.steps, guest.Step{
		Name: name, Args: []string{binary(pkg), "-test.v", "-test.run=" + pattern, "-test.timeout=" + timeout.String()},
		Env: env, Timeout: timeout,
	})
}

// command compiles the command, has it build the module, and adds the step that tries both. The kernel is one for
// this processor, and no module may be inserted.
func (l *lab) command() {
	l.t.Helper()
	const there, built = "/command/shmheap", "/command/shmheap.ko"
	dir := l.t.TempDir()
	here, module := filepath.Join(dir, "shmheap"), filepath.Join(dir, "built.ko")
	if err := guest.Build(l.kernel.Arch, "build", "-o", here, repository+"cmd/shmheap"); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(here, "kmod", "build", "--kernel", l.kernel.Build, "-o", module, "--", "CC=gcc-12")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != module+"\n" {
		l.t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	l.files = append(l.files, guest.File{Path: there, Host: here}, guest.File{Path: built, Host: module})
	l.again("tests/kmod/inside", "command", "^TestCommand$", "KMOD_COMMAND="+there, "KMOD_BUILT="+built)
}

// binary is where the tests of a package are in a machine.
func binary(pkg string) string { return path.Join("/tests", strings.ReplaceAll(pkg, "/", "-")+".test") }
