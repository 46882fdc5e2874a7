package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

const (
	module   = "github.com/shmheap/shmheap/"
	root     = "../.."
	programs = "/programs" // in the guest: what tests find by shmtest.Programs
)

// slow are tests that take a minute where the processor is emulated, and are not about it.
const slow = "^(TestCheckDuringCommit|TestDeathIsFinal|TestHostileTables|TestRootsBusy|TestSurvey.*|TestEstimateCovers.*)$"

// lab collects what a guest is to have.
type lab struct {
	t     *testing.T
	arch  string
	dir   string // here
	only  string // the tests to run, as the flag -run of go test; "" is all
	files []guest.File
}

// newLab skips the test where the guest's processor cannot be emulated.
func newLab(t *testing.T, arch, packages string) *lab {
	t.Helper()
	if _, err := guest.Emulator(arch); err != nil {
		shmtest.Skip(t, err.Error(), "install "+packages)
	}
	l := &lab{t: t, arch: arch, dir: t.TempDir()}
	l.fetch("busybox-static", "bin/busybox")
	for _, applet := range []string{"sh", "cat", "env", "true", "stty", "sleep", "echo", "kill"} {
		l.files = append(l.files, guest.File{Path: "/bin/" + applet, Link: "busybox"})
	}
	return l
}

// kernel returns the image of a kernel, or skips the test.
func (l *lab) kernel(series string) string {
	l.t.Helper()
	k, err := guest.Debian(l.arch, series)
	l.unlessOffline(err)
	return k.Image
}

func (l *lab) unlessOffline(err error) {
	l.t.Helper()
	if errors.Is(err, guest.ErrCannotFetch) {
		shmtest.Skip(l.t, err.Error(), "test on Debian with a network, or fill the cache")
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// fetch adds files of a package of Debian, at the same path. A pattern stands for the files that match.
func (l *lab) fetch(name string, patterns ...string) {
	l.t.Helper()
	dir, err := guest.Fetch(l.arch, name)
	l.unlessOffline(err)
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			l.t.Fatalf("no %s in %s: %v", pattern, dir, err)
		}
		for _, file := range found {
			l.files = append(l.files, guest.File{Path: strings.TrimPrefix(file, dir), Host: resolved(l.t, file)})
		}
	}
}

// resolved follows the links inside a package, which are relative.
func resolved(t *testing.T, file string) string {
	t.Helper()
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// build compiles a program for the guest.
func (l *lab) build(name, pkg string, flags ...string) {
	l.t.Helper()
	out := filepath.Join(l.dir, name)
	if err := guest.Build(l.arch, append(append([]string{"build", "-o", out}, flags...), module+pkg)...); err != nil {
		l.t.Fatal(err)
	}
	l.files = append(l.files, guest.File{Path: path.Join(programs, name), Host: out})
}

// compile compiles a C program for the guest.
func (l *lab) compile(name, source string, flags ...string) {
	l.t.Helper()
	cc := map[string]string{"amd64": "cc", "arm64": "aarch64-linux-gnu-gcc"}[l.arch]
	if _, err := exec.LookPath(cc); err != nil {
		shmtest.Skip(l.t, err.Error(), "install gcc-aarch64-linux-gnu and libc6-dev-arm64-cross")
	}
	out := filepath.Join(l.dir, name)
	args := append([]string{"-O1", "-o", out, filepath.Join(root, source)}, flags...)
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %v: %v\n%s", cc, args, err, text)
	}
	l.files = append(l.files, guest.File{Path: path.Join(programs, name), Host: out})
}

// test compiles the tests of packages, and returns the steps that run them with their test data around.
func (l *lab) test(pkgs ...string) (steps []guest.Step) {
	l.t.Helper()
	for _, pkg := range pkgs {
		name := strings.ReplaceAll(pkg, "/", "-")
		out := filepath.Join(l.dir, name+".test")
		if err := guest.Build(l.arch, "test", "-c", "-o", out, module+pkg); err != nil {
			l.t.Fatal(err)
		}
		binary := path.Join("/tests", name+".test")
		l.files = append(l.files, guest.File{Path: binary, Host: out})
		l.testdata(pkg)
		steps = append(steps, guest.Step{
			Name: name, Args: []string{binary, "-test.v", "-test.short", "-test.timeout=10m", "-test.run=" + l.only, "-test.skip=" + slow}, Dir: path.Join("/src", pkg),
			Env: []string{"SHMTEST_PROGRAMS=" + programs}, Timeout: 12 * time.Minute,
		})
	}
	return steps
}

// testdata adds the directory of a package with its test data.
func (l *lab) testdata(pkg string) {
	l.t.Helper()
	l.files = append(l.files, guest.File{Path: path.Join("/src", pkg, ".keep")})
	dir := os.DirFS(root)
	err := fs.WalkDir(dir, path.Join(pkg, "testdata"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			l.files = append(l.files, guest.File{Path: path.Join("/src", name), Host: filepath.Join(root, name)})
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.t.Fatal(err)
	}
}

// run boots the guest and fails the test for each step that failed.
func (l *lab) run(g guest.Guest) *guest.Result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 25*time.Minute)
	defer cancel()
	g.Arch, g.Files = l.arch, l.files
	begin := time.Now()
	r, err := g.Run(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Logf("note: guest %s, %s: %d steps in %.0f s, boots: %d", l.arch, filepath.Base(g.Kernel), len(r.Steps),
		time.Since(begin).Seconds(), r.Boots)
	for _, step := range r.Steps {
		l.t.Run(step.Name, func(t *testing.T) { judge(t, step) })
	}
	for _, line := range r.Trouble() {
		l.t.Errorf("the kernel says: %s", line)
	}
	return r
}

// outcome is the line with which a test in the guest ends, at the left margin.
var outcome = regexp.MustCompile(`(?m)^--- (PASS|SKIP|FAIL): (\S+) \((\d+)\.\d+s\)`)

// judge reports a step whose tests failed, and counts the others.
func judge(t *testing.T, step guest.StepResult) {
	counts := map[string]int{}
	var skipped, long string
	for _, m := range outcome.FindAllStringSubmatch(step.Output, -1) {
		if counts[m[1]]++; m[1] == "SKIP" {
			skipped += " " + m[2]
		}
		if len(m[3]) > 1 { // ten seconds and more
			long += fmt.Sprintf(" %s %s s", m[2], m[3])
		}
	}
	t.Logf("note: %s: %d passed, %d skipped, %.1f s; skipped:%s; slow:%s", step.Name, counts["PASS"], counts["SKIP"],
		step.Duration.Seconds(), cmp.Or(skipped, " none"), cmp.Or(long, " none"))
	if step.Status != 0 || counts["FAIL"] > 0 || counts["PASS"] == 0 {
		t.Errorf("status %d, late %t, %d failed\n%s", step.Status, step.Late, counts["FAIL"], step.Output)
	}
}
