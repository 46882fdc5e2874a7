package samples

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

const (
	module = "github.com/shmheap/shmheap/"
	root   = "../.."
	inside = "/inside.test" // in the guest: the test binary of package inside
)

// lab is a guest to be.
type lab struct {
	t       *testing.T
	kernel  guest.Kernel
	modules []string
	files   []guest.File
	steps   []guest.Step
	leaks   bool // the kernel can tell of them
}

// newLab returns a guest with the test binary, or skips the test where it cannot be had.
func newLab(t *testing.T, arch string, get func() (guest.Kernel, error)) *lab {
	t.Helper()
	if _, err := guest.Emulator(arch); err != nil {
		shmtest.Skip(t, err.Error(), "install qemu-system-x86 and qemu-system-arm")
	}
	kernel, err := get()
	if errors.Is(err, guest.ErrCannotFetch) {
		shmtest.Skip(t, err.Error(), "test on Debian with a network, or fill the cache")
	}
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "inside.test")
	if err := guest.Build(arch, "test", "-c", "-o", binary, module+"tests/samples/inside"); err != nil {
		t.Fatal(err)
	}
	return &lab{t: t, kernel: kernel, files: []guest.File{{Path: inside, Host: binary}}}
}

// build builds all modules of kmod. Warnings of the compiler fail the test.
func (l *lab) build() {
	l.t.Helper()
	built, err := l.kernel.Modules(map[string]string{"kmod": filepath.Join(root, "kmod")}, "W=1")
	if errors.Is(err, guest.ErrNoCompiler) {
		shmtest.Skip(l.t, err.Error(), "install gcc-12 and gcc-aarch64-linux-gnu")
	}
	if err != nil {
		l.t.Fatal(err)
	}
	for _, w := range built.Warnings() {
		l.t.Errorf("the compiler warns: %s", w)
	}
	for _, file := range built.Files {
		l.files = append(l.files, guest.File{Path: guest.ModulePath(moduleName(file)), Host: file})
	}
}

func moduleName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".ko") }

// program builds a program of this repository for the guest.
func (l *lab) program(name, pkg string) {
	l.t.Helper()
	out := filepath.Join(l.t.TempDir(), name)
	if err := guest.Build(l.kernel.Arch, "build", "-o", out, module+pkg); err != nil {
		l.t.Fatal(err)
	}
	l.files = append(l.files, guest.File{Path: "/programs/" + name, Host: out})
}

// insert adds steps that insert modules, those of the kernel's own packages where it is not built with them.
func (l *lab) insert(names ...string) {
	l.t.Helper()
	for _, name := range names {
		if !l.has(name) {
			file, err := l.kernel.Module(name)
			if err != nil {
				l.t.Fatal(err)
			}
			if file == nil {
				continue
			}
			l.files = append(l.files, *file)
		}
		l.modules = append(l.modules, name)
		l.steps = append(l.steps, guest.Insert(name))
	}
}

func (l *lab) has(name string) bool {
	for _, f := range l.files {
		if f.Path == guest.ModulePath(name) {
			return true
		}
	}
	return false
}

// test adds a step that runs the tests of package inside whose names begin with one of the words.
func (l *lab) test(words ...string) {
	pattern := "^Test(" + strings.Join(words, "|") + ")"
	l.steps = append(l.steps, guest.Step{
		Name: "test-" + strings.ToLower(words[0]), Env: []string{"SHMHEAP_SAMPLES=1"}, Timeout: 10 * time.Minute,
		Args: []string{inside, "-test.v", "-test.timeout=9m", "-test.run=" + pattern},
	})
}

// remove adds steps that remove the modules again, the last one first.
func (l *lab) remove() {
	for i := len(l.modules) - 1; i >= 0; i-- {
		l.steps = append(l.steps, guest.Remove(l.modules[i]))
	}
}

// run boots the guest and fails the test for each step that fails, for each test in it that fails or is
// skipped, and for all that its kernel complains of.
func (l *lab) run() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Minute)
	defer cancel()
	g := guest.Guest{
		Arch: l.kernel.Arch, Kernel: l.kernel.Image, Files: l.files, Steps: l.steps, Devices: []string{"edu"},
	}
	begin := time.Now()
	r, err := g.Run(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, step := range r.Steps {
		judge(l.t, step)
	}
	if step, ok := r.Step("leaks"); ok {
		for _, leak := range guest.Leaks(step.Output, l.modules) {
			l.t.Errorf("leak: %s", leak)
		}
	}
	for _, line := range r.Trouble(l.modules...) {
		l.t.Errorf("the kernel says: %s", line)
	}
	l.t.Logf("note: %s/%s: %.0f s", l.kernel.Arch, l.kernel.Release, time.Since(begin).Seconds())
}

// outcome is a line with which a test in the guest ends, and note what it has to tell.
var (
	outcome = regexp.MustCompile(`(?m)^--- (PASS|SKIP|FAIL): (\S+) \(`)
	note    = regexp.MustCompile(`(?m)^ +\S+_test\.go:\d+: (note: .*)$`)
)

func judge(t *testing.T, step guest.StepResult) {
	t.Helper()
	passed := 0
	for _, m := range outcome.FindAllStringSubmatch(step.Output, -1) {
		if m[1] == "PASS" {
			passed++
		} else {
			t.Errorf("%s: %s", m[2], m[1])
		}
	}
	if step.Status != 0 || strings.HasPrefix(step.Name, "test-") && passed == 0 {
		t.Errorf("%s: status %d, late %t\n%s", step.Name, step.Status, step.Late, step.Output)
	}
	for _, m := range note.FindAllStringSubmatch(step.Output, -1) {
		t.Log(m[1])
	}
}
