//go:build amd64 || arm64

package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/probe"
)

func TestMain(m *testing.M) { shmtest.Main(m, map[string]func() error{"launch": runLaunch}) }

// placeVariable says how the tracer of a test finds its instruction.
const placeVariable = "LAUNCH_TEST_PLACE"

// places are the ways to find an instruction.
var places = map[string]func(*tracee) (place, error){
	"vdso": instructionOf,
	"without return": func(t *tracee) (place, error) {
		at, err := instructionOf(t)
		at.returns = false
		return at, err
	},
	"entry": func(*tracee) (place, error) { return place{}, errors.New("none found") },
}

// runLaunch is a launcher, and its tracer.
func runLaunch() error {
	if os.Args[1] == "trace" {
		findPlace = places[os.Getenv(placeVariable)]
		return Trace()
	}
	l := Launch{Args: os.Args[1:], Ranges: testRanges(), Require: true, Tracer: []string{"trace"}, Warn: os.Stderr}
	return l.Exec()
}

func testRanges() []probe.Range {
	start := probe.Windows()[0].Start
	return []probe.Range{{Start: start, End: start + 1<<30}, {Start: start + 2<<30, End: start + 3<<30}}
}

func TestPlaces(t *testing.T) {
	for name := range places {
		t.Run(name, func(t *testing.T) {
			t.Setenv(placeVariable, name)
			out, err := shmtest.Command("launch", "cat", "/proc/self/maps").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, r := range testRanges() {
				if line := fmt.Sprintf("%x-%x ---p 00000000 00:00 0", r.Start, r.End); !strings.Contains(string(out), line) {
					t.Errorf("no %s in\n%s", line, out)
				}
			}
		})
	}
}

// TestLaunchOfLaunch: the tracer of one is gone before the other begins.
func TestLaunchOfLaunch(t *testing.T) {
	t.Setenv(placeVariable, "vdso")
	cmd := shmtest.Command("launch", os.Args[0], os.Args[0], "sh", "-c", "echo $1", "sh", "a b") // the variable is inherited
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "a b\n" {
		t.Errorf("%v: %q", err, out)
	}
}

func TestTimesAgain(t *testing.T) {
	own := os.Getpid()
	for _, test := range []struct {
		value   string
		count   int
		allowed bool
	}{
		{againValue(2), 2, true}, {fmt.Sprintf("%d:0", own), 0, true}, {"", 0, false},
		{fmt.Sprintf("%d:3", own+1), 0, false}, {":1", 0, false}, {"x", 0, false},
	} {
		if count, allowed := timesAgain(test.value); count != test.count || allowed != test.allowed {
			t.Errorf("%q: %d, %t", test.value, count, allowed)
		}
	}
	if count, _ := timesAgain(fmt.Sprintf("%d:-5", own)); count < maxAgain {
		t.Errorf("tampered with: %d", count)
	}
}

func TestAgainRefuses(t *testing.T) {
	taken := &probe.TakenError{Range: testRanges()[0]}
	if err := Again(taken, false); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("without permission: %v", err)
	}
	t.Setenv(againVariable, againValue(maxAgain))
	if err := Again(taken, true); !errors.Is(err, ErrNoRemedy) {
		t.Errorf("after %d times: %v", maxAgain, err)
	}
}

func TestReachable(t *testing.T) {
	const top = 1 << 60 // further than five levels of page tables reach
	l := Launch{Ranges: []probe.Range{{Start: top - probe.Guard, End: top + probe.Guard}}}
	if err := l.reachable(); !errors.Is(err, probe.ErrBeyond) {
		t.Errorf("beyond the top: %v", err)
	}
	l.Ranges = testRanges()
	if err := l.reachable(); err != nil {
		t.Error(err)
	}
}
