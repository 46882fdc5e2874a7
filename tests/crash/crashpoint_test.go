//go:build crashpoint

package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestStormWithCrashPoints is TestStorm with workers that kill
// themselves, each at a point chosen by chance.
func TestStormWithCrashPoints(t *testing.T) {
	k := &armed{killer: newStorm(t), diedAt: make(map[string]int)}
	for _, point := range append(shmtest.CrashPoints(t, "../../alloc"), shmtest.CrashPoints(t, "../../heap")...) {
		if workerPasses(point) {
			k.points = append(k.points, point)
		}
	}
	for place := range stormWorkers {
		k.arm(place)
	}
	for n := range k.kills {
		k.letDie(k.random.IntN(stormWorkers))
		k.checkAtTimes(n)
	}
	leaked := k.finish()
	suicides := 0
	for _, n := range k.diedAt {
		suicides += n
	}
	t.Logf("%d workers killed themselves, at %d of %d points: %v", suicides, len(k.diedAt), len(k.points), k.diedAt)
	others := int(k.kills) - suicides
	if others > int(k.kills)*9/10 {
		t.Errorf("only %d of %d workers killed themselves", suicides, k.kills)
	}
	if leaks := k.diedAt["alloc.from.after-clear"]; leaked > uint64(leaks+others) {
		t.Errorf("%d blocks leaked, %d workers died where that can happen, and %d anywhere", leaked, leaks, others)
	}
}

// workerPasses reports whether a worker may pass a point: it does not create heaps or roots.
func workerPasses(point string) bool {
	return strings.HasPrefix(point, "alloc.") || strings.HasPrefix(point, "heap.attach.")
}

// armed is a killer whose workers have a point at which they die.
type armed struct {
	*killer
	points []string
	at     [stormWorkers]string // the point of the worker in each place
	diedAt map[string]int
}

// arm puts a worker with a new point in a place.
func (k *armed) arm(place int) {
	k.t.Helper()
	k.at[place] = k.points[k.random.IntN(len(k.points))]
	passes := 1 + k.random.IntN([]int{1, 10, 100, 1000}[k.random.IntN(4)])
	k.environment = []string{fmt.Sprintf("%s=%s:%d", crashpoint.Env, k.at[place], passes)}
	k.replace(place)
}

// letDie waits until a worker dies, and kills it when it has done so much that it seems not to.
func (k *armed) letDie(place int) {
	k.t.Helper()
	progress, p := &k.table.progress[place], k.workers[place]
	target := progress.Load() + 2000
	for end := time.Now().Add(shmtest.Patience); progress.Load() < target && !p.Ended(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			k.t.Fatalf("worker is stuck after %d operations:\n%s", progress.Load(), p.Dump())
		}
	}
	if p.Ended() {
		k.diedAt[k.at[place]]++
	}
	p.Kill()
	if !p.Killed() {
		k.failed()
	}
	k.arm(place)
}
