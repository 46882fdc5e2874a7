package join

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestTogether: processes that start at once end at one base and see each other's data.
func TestTogether(t *testing.T) {
	const n = 8
	g := newGroup(t)
	var all []*shmtest.Process
	for range n {
		all = append(all, g.joining(n))
	}
	base := sameBase(t, all)
	if want := candidates(t, 1)[0]; base != want {
		t.Errorf("base %#x, the first candidate %#x was free", base, want)
	}
	late := g.joining(n)
	if got := sameBase(t, []*shmtest.Process{late}); got != base {
		t.Errorf("the late one is at %#x, the others at %#x", got, base)
	}
	shareData(t, base, append(all, late))
	g.clean()
}

// TestBlocked: what one member has mapped makes all move, and two members may block different places.
func TestBlocked(t *testing.T) {
	for _, blockers := range [][]int{{3}, {1, 1}, {0, 2, 3}} { // how many candidates each member blocks
		t.Run(fmt.Sprint(blockers), func(t *testing.T) {
			g, n := newGroup(t), len(blockers)+2
			total := 0
			for _, k := range blockers {
				total += k
			}
			bases := candidates(t, total+1)
			var all []*shmtest.Process
			next := 0
			for i := range n {
				p := g.start()
				if i < len(blockers) {
					for range blockers[i] {
						p.Tell(fmt.Sprintf("block %#x %#x", bases[next]+1<<20, 1<<20))
						p.Want("blocked")
						next++
					}
				}
				all = append(all, p)
			}
			for _, p := range all {
				p.Tell(join(n))
			}
			base := sameBase(t, all)
			if base != bases[total] {
				t.Errorf("base %#x, want %#x, the first that nobody blocks", base, bases[total])
			}
			shareData(t, base, all)
			g.clean()
		})
	}
}

// TestLateAndBlocked: who comes when the base is fixed, and has something there, is told so.
func TestLateAndBlocked(t *testing.T) {
	g := newGroup(t)
	all := []*shmtest.Process{g.joining(2), g.joining(2)}
	base := sameBase(t, all)
	late := g.start()
	late.Tell(fmt.Sprintf("block %#x %#x", base+1<<20, 1<<20))
	late.Want("blocked")
	answer := late.Ask(join(2))
	for _, part := range []string{"error conflict-with-2-peers: ", "reserved range", fmt.Sprint(all[0].PID()), fmt.Sprint(all[1].PID())} {
		if !strings.Contains(answer, part) {
			t.Errorf("%q lacks %q", answer, part)
		}
	}
	e, err := heap.Explain("a", late.PID(), &heap.Options{Dir: g.dir})
	if err != nil || e.Free() || e.Attached || len(e.Conflicts) != 1 || len(e.Peers) != 2 {
		t.Errorf("explanation %+v, %v", e, err)
	}
}

// TestTooFew: a deadline ends the wait for members that never come, and the error names those that did.
func TestTooFew(t *testing.T) {
	g := newGroup(t)
	leader := g.joining(4)
	g.listening()
	second := g.start()
	answer := second.Ask("join a 4 5")
	for _, part := range []string{"error deadline: ", "2 of 4 members came: pid ", fmt.Sprint(leader.PID()), fmt.Sprint(second.PID())} {
		if !strings.Contains(answer, part) {
			t.Errorf("%q lacks %q", answer, part)
		}
	}
	leader.Kill()
	alone := g.start()
	if answer := alone.Ask("join a 4 1"); !strings.HasPrefix(answer, "error deadline: ") || !strings.Contains(answer, " 1 of 4 members came") {
		t.Errorf("alone: %s", answer)
	}
	if infos, err := heap.List(&heap.Options{Dir: g.dir}); err != nil || len(infos) != 0 {
		t.Errorf("heaps %+v, %v", infos, err)
	}
}

// TestKilledWhileWaiting: members and coordinators that die before all are there are replaced.
func TestKilledWhileWaiting(t *testing.T) {
	g := newGroup(t)
	for range 3 {
		leader := g.joining(3)
		g.listening()
		leader.Kill()
	}
	var all []*shmtest.Process
	for range 3 {
		all = append(all, g.joining(3))
	}
	shareData(t, sameBase(t, all), all)
	g.clean()
}
