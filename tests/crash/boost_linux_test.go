//go:build !crashpoint && !shmheap_portable

package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestBoostStorm is the control of TestStorm: the same on Boost.Interprocess, whose heap has one lock, which a process
// that is killed inside of an operation takes with it, or waited for. It counts the kills after which nobody gets on
// any more. Eight processes that do nothing but allocate and free are killed in the middle of that; those that
// do the storm's work are mostly at their blocks, as there.
func TestBoostStorm(t *testing.T) {
	program, kills := buildBoost(t), envNumber(t, "SHMHEAP_BOOST", 12)
	for _, x := range []struct {
		name             string
		workers, touched uint64
	}{
		{"eight that allocate and free", 8, 8},
		{"one that allocates and frees", 1, 8},
		{"eight that fill and look, too", 8, maxBlock},
	} {
		t.Run(x.name, func(t *testing.T) {
			inside, ended := stormOnBoost(t, program, x.workers, x.touched, kills)
			t.Logf("note: Boost.Interprocess: %d of %d kills ended the heap, %d were inside of an operation", ended, kills, inside)
			if x.touched < maxBlock && kills >= 50 && ended*2 <= kills {
				t.Error("less than half of the kills ended the heap: this is no control")
			}
		})
	}
}

// stormOnBoost returns how many of the kills hit a process inside of an operation, and how many ended the heap.
func stormOnBoost(t *testing.T, program string, workers, touched, kills uint64) (inside, ended uint64) {
	t.Helper()
	name := "shmheap-crash-boost-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() { os.Remove("/dev/shm/" + name) })
	cmd := exec.CommandContext(t.Context(), program, name, strconv.Itoa(stormSize), fmt.Sprint(workers), fmt.Sprint(touched), fmt.Sprint(kills), fmt.Sprint(newSeed(t)))
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	var all uint64
	if n, err := fmt.Sscan(string(out), &all, &inside, &ended); n != 3 || all != kills {
		t.Fatalf("%v said %q: %v", cmd, out, err)
	}
	return inside, ended
}

// buildBoost builds the program.
func buildBoost(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		shmtest.Skip(t, "no C++ compiler", "install g++")
	}
	if _, err := os.Stat("/usr/include/boost/interprocess"); err != nil {
		shmtest.Skip(t, "no Boost.Interprocess", "install libboost-dev")
	}
	program := filepath.Join(t.TempDir(), "boost_storm")
	cmd := exec.Command(compiler, "-O2", "-std=c++17", "-o", program, "testdata/boost_storm.cpp", "-lrt", "-pthread")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return program
}
