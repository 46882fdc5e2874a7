package join

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// crash kills one member of three at a point. Where helper is set, another member is killed there, so
// that a proposal is taken back.
type crash struct {
	point, helper string
	leads         bool // the one to be killed is the coordinator
	made          bool // there is a heap by then
	either        bool // there may be one
}

const dieAsked = "heap.join.before-reserve" // a member that is asked and never answers

var crashes = []crash{
	{point: "heap.join.after-connect"},
	{point: "heap.join.after-hello"},
	{point: "heap.join.before-reserve"},
	{point: "heap.join.after-reserve"},
	{point: "heap.join.after-abort", helper: dieAsked},
	{point: "heap.join.after-answer", either: true},
	{point: "heap.join.after-commit", made: true},
	{point: "heap.lead.after-lock", leads: true},
	{point: "heap.lead.after-listen", leads: true},
	{point: "heap.lead.after-gather", leads: true},
	{point: "heap.lead.after-reserve", leads: true},
	{point: "heap.lead.after-propose", leads: true},
	{point: "heap.lead.after-abort", leads: true, helper: dieAsked},
	{point: "heap.lead.after-votes", leads: true},
	{point: "heap.create.after-file", leads: true},
	{point: "heap.create.before-superblock", leads: true},
	{point: "heap.create.after-superblock", leads: true},
	{point: "heap.create.after-name", leads: true, made: true},
	{point: "heap.lead.after-create", leads: true, made: true},
	{point: "heap.lead.after-commit", leads: true, made: true},
	{point: "heap.lead.after-commit:2", leads: true, made: true},
	{point: "heap.lead.before-remove", leads: true, made: true},
}

// TestEveryPointIsCrashedAt finds the points in the sources, so that none is without a test.
func TestEveryPointIsCrashedAt(t *testing.T) {
	found := 0
	for _, point := range shmtest.CrashPoints(t, filepath.Join("..", "..", "heap")) {
		if !strings.HasPrefix(point, "heap.join.") && !strings.HasPrefix(point, "heap.lead.") {
			continue // package heap kills there
		}
		found++
		if !slices.ContainsFunc(crashes, func(c crash) bool { return c.point == point }) {
			t.Errorf("no process is killed at %s", point)
		}
	}
	if found == 0 {
		t.Error("no points found")
	}
}

// TestCrashes kills a member, or the coordinator, at every point. The others finish when those that died
// are replaced.
func TestCrashes(t *testing.T) {
	program := crashProgram(t)
	for _, c := range crashes {
		t.Run(c.point, func(t *testing.T) {
			g := newGroup(t)
			g.program = program
			survivors, dead := g.crashOnce(c)
			all := survivors
			for range dead {
				all = append(all, g.joining(3))
			}
			base := sameBase(t, all)
			shareData(t, base, all)
			g.clean()
			info, err := heap.Stat("a", &heap.Options{Dir: g.dir})
			if err != nil || info.Base != base || info.Peers != len(all) {
				t.Errorf("heap %+v, %v", info, err)
			}
		})
	}
}

// crashOnce starts three members of which one is armed, and a helper as the case may be. It returns the
// survivors, and how many died.
func (g *group) crashOnce(c crash) (survivors []*shmtest.Process, dead int) {
	g.t.Helper()
	armed := crashpoint.Env + "=" + c.point
	var victims []*shmtest.Process
	if c.leads {
		victims = append(victims, g.joining(3, armed))
		if c.point == "heap.lead.after-lock" || c.point == "heap.lead.after-listen" {
			victims[0].Wait()
		} else {
			g.listening()
		}
	} else {
		survivors = append(survivors, g.joining(3))
		g.listening()
		victims = append(victims, g.joining(3, armed))
	}
	if c.helper != "" {
		victims = append(victims, g.joining(3, crashpoint.Env+"="+c.helper))
	}
	for len(survivors)+len(victims) < 3 {
		survivors = append(survivors, g.joining(3))
	}
	for _, v := range victims {
		if !v.Killed() {
			g.t.Fatalf("not killed at %s: %v: %s", c.point, v.Wait(), v.Heard())
		}
	}
	_, err := heap.Stat("a", &heap.Options{Dir: g.dir})
	if made := err == nil; made != c.made && !c.either {
		g.t.Errorf("there is a heap: %t, %v", made, err)
	}
	return survivors, len(victims)
}

// crashProgram returns a binary of this package that can be killed at points: this one, if it can.
func crashProgram(t *testing.T) string {
	t.Helper()
	if crashpoint.Enabled {
		return os.Args[0]
	}
	if _, err := exec.LookPath("go"); err != nil {
		shmtest.Skip(t, "no go command to build a program with crash points", "install Go, or run the tests with -tags crashpoint")
	}
	program := filepath.Join(t.TempDir(), "member.test")
	cmd := exec.Command("go", "test", "-c", "-tags", "crashpoint", "-o", program, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}
