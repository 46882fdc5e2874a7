package lab

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/guest"
)

// Tests says which tests of a package run, and how. The zero value is all of them.
type Tests struct {
	Name string   // of the step; "" is the package's
	Args []string // of the test binary, such as -test.run=Storm
	Env  []string
	Must []string // tests that must pass: others may be skipped
	All  bool     // none may be skipped
}

// Test compiles the tests of a package for the guest, unless they are there already, and adds the step that runs them, in
// the package's directory with its test data.
func (l *Lab) Test(pkg string, o Tests) {
	l.t.Helper()
	const timeout = 20 * time.Minute
	name := strings.ReplaceAll(pkg, "/", "-")
	there := path.Join("/tests", name+".test")
	if !l.has(there) {
		out := l.built(name + ".test")
		Must(l.t, guest.Build(l.Kernel.Arch, "test", "-vet=off", "-c", "-o", out, repository+pkg))
		l.Add(guest.File{Path: there, Host: out})
		l.addTestdata(pkg)
	}
	l.add(step{
		Step: guest.Step{
			Name: cmp.Or(o.Name, name), Args: append([]string{there, "-test.v", "-test.timeout=" + timeout.String()}, o.Args...),
			Env: append([]string{"SHMTEST_PROGRAMS=" + Programs}, o.Env...), Dir: source(pkg), Timeout: timeout + time.Minute,
		},
		judge: o.problems,
	})
}

// outcome is the line with which a test in the guest ends, at the left margin.
var outcome = regexp.MustCompile(`(?m)^--- (PASS|SKIP|FAIL): (\S+) \((\d+)\.\d+s\)`)

// outcomes returns the names of the tests of a step by how they ended, and those that took ten seconds and more.
func outcomes(s guest.StepResult) (ended map[string][]string, long []string) {
	ended = map[string][]string{}
	for _, m := range outcome.FindAllStringSubmatch(s.Output, -1) {
		ended[m[1]] = append(ended[m[1]], m[2])
		if len(m[3]) > 1 {
			long = append(long, m[2]+" "+m[3]+" s")
		}
	}
	return ended, long
}

// problems says which tests of a step have not done what they must.
func (o Tests) problems(s guest.StepResult) (all []string) {
	ended, _ := outcomes(s)
	for _, name := range o.Must {
		if !slices.Contains(ended["PASS"], name) {
			all = append(all, name+" did not pass")
		}
	}
	if len(ended["PASS"]) == 0 || o.All && len(ended["SKIP"]) > 0 {
		all = append(all, fmt.Sprintf("passed: %s; skipped: %s", list(ended["PASS"]), list(ended["SKIP"])))
	}
	return all
}

// notes returns what a step has to tell: how its tests ended, and their own notes.
func notes(s guest.StepResult) (all []string) {
	if ended, long := outcomes(s); len(ended) > 0 {
		all = append(all, fmt.Sprintf("%d passed, %.1f s; skipped: %s; slow: %s", len(ended["PASS"]), s.Duration.Seconds(),
			list(ended["SKIP"]), list(long)))
	}
	for line := range strings.Lines(s.Output) {
		if _, note, ok := strings.Cut(line, ": note: "); ok {
			all = append(all, strings.TrimSpace(note))
		}
	}
	return all
}

func list(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }
