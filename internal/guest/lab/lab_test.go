package lab

import (
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
)

const output = `=== RUN   TestA
    a_test.go:7: note: seed 5
--- PASS: TestA (0.10s)
    --- SKIP: TestA/part (0.00s)
--- SKIP: TestB (0.00s)
--- PASS: TestC (12.30s)
`

// TestProblems: each thing that can go wrong with a step is told, and nothing else.
func TestProblems(t *testing.T) {
	const leak = "unreferenced object 0xffff (size 8):\n  [<0>] plant+0x1/0x2 [ours]"
	l := &Lab{t: t}
	l.modules = []string{"ours"}
	l.Leaks()
	l.PlantLeak("ours", "leak")
	none, found := l.steps[0], l.steps[3]
	tests := func(o Tests) step { return step{judge: o.problems} }
	for name, c := range map[string]struct {
		step step
		got  guest.StepResult
		want []string // what the problems begin with
	}{
		"good":              {step{}, guest.StepResult{Kernel: []string{"x: loaded"}}, nil},
		"status":            {step{}, guest.StepResult{Status: 1, Output: "broken"}, []string{"status 1, late false\nbroken"}},
		"complaint":         {step{}, guest.StepResult{Kernel: []string{"BUG: x"}}, []string{"the kernel says: BUG: x"}},
		"planted":           {step{planted: "BUG: x"}, guest.StepResult{Kernel: []string{"BUG: x"}}, nil},
		"planted, another":  {step{planted: "BUG: x"}, guest.StepResult{Kernel: []string{"BUG: y"}}, []string{"the planted bug was not found"}},
		"tests":             {tests(Tests{Must: []string{"TestA", "TestC"}}), guest.StepResult{Output: output}, nil},
		"one was skipped":   {tests(Tests{All: true}), guest.StepResult{Output: output}, []string{"passed: TestA, TestC; skipped: TestB"}},
		"it must not be":    {tests(Tests{Must: []string{"TestB"}}), guest.StepResult{Output: output}, []string{"TestB did not pass"}},
		"none ran":          {tests(Tests{}), guest.StepResult{Output: "PASS\n"}, []string{"passed: none; skipped: none"}},
		"no leak":           {none, guest.StepResult{}, nil},
		"leak":              {none, guest.StepResult{Output: leak}, []string{leak}},
		"leak of others":    {none, guest.StepResult{Output: strings.Replace(leak, "ours", "theirs", 1)}, nil},
		"planted leak":      {found, guest.StepResult{Output: leak, Kernel: []string{"kmemleak: 1 new suspected memory leaks"}}, nil},
		"planted leak lost": {found, guest.StepResult{}, []string{"the planted leak was not found", "the planted bug was not found"}},
	} {
		got := l.problems(c.step, c.got)
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	got := notes(guest.StepResult{Output: output})
	if want := []string{"2 passed, 0.0 s; skipped: TestB; slow: TestC 12 s", "seed 5"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := notes(guest.StepResult{Output: "hello\n"}); got != nil {
		t.Errorf("%q", got)
	}
}
