package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// crashEnv arms a point at which a process kills itself, in a build with the
// tag crashpoint; in any other build it does nothing.
const crashEnv = "SHMHEAP_CRASHPOINT"

// crashpoints are the points of package alloc that a worker passes. One is
// left out, alloc.from.after-clear: a settler that dies there leaks a block, as
// the documentation of package alloc says.
var crashpoints = []string{
	"alloc.into.after-intent", "alloc.into.after-take", "alloc.into.after-store",
	"alloc.from.after-intent", "alloc.from.after-free",
	"alloc.recover.after-take", "alloc.recover.before-span", "alloc.recover.before-free",
	"alloc.settle.before-clear", "alloc.cache.after-owner", "alloc.free.after-remote",
}

// TestKilledAgainAndAgain has one worker process after the other killed, three
// at a time, until the index is complete. Those that die at a crash point die
// in the middle of the allocator.
func TestKilledAgainAndAgain(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	const hands, atOnce = 60, 3
	l := newLab(t, folder(t, 200, seed), hands)
	running := make([]*child, atOnce)
	for n := range hands {
		slot := n % atOnce
		if c := running[slot]; c != nil {
			time.Sleep(time.Duration(random.IntN(25000)) * time.Microsecond) // the moment of death
			c.kill()
		}
		point := ""
		if n < hands-1 {
			point = fmt.Sprintf("%s:%d", crashpoints[random.IntN(len(crashpoints))], 1+random.IntN(40))
		}
		pace := time.Duration(1+random.IntN(8)) * time.Millisecond
		running[slot] = startWorker(t, l, n, point, pace)
	}
	for i, c := range running {
		last := i == (hands-1)%atOnce
		if <-c.ended; last && c.err != nil {
			t.Error(c.failure())
		}
		if !last && c.stderr.Len() > 0 {
			t.Error(c.failure())
		}
	}
	if _, err := l.alloc.Recover(); err != nil {
		t.Fatal(err)
	}
	l.verify()
	taken, settled := 0, 0
	for i := range l.view.hands {
		taken += int(oneIf(l.view.hands[i].Owner.Load() != nobody))
		settled += int(oneIf(l.view.hands[i].Settler.Load() == finished))
	}
	t.Logf("%d workers, %d of them died with a file", taken, settled)
}

// startWorker starts a worker process on the index of a lab. It may kill
// itself before it has said hello.
func startWorker(t *testing.T, l *lab, number int, point string, pace time.Duration) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+string(RoleWorker), envName+"="+l.heap.Path(),
		envPace+"="+pace.String(), crashEnv+"="+point)
	c, err := startChild(cmd, RoleWorker, number)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	if err := c.begin(); err != nil && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "broken pipe") {
		t.Fatal(err)
	}
	return c
}
