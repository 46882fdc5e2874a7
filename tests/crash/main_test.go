package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// programs are what the tests run in processes of their own. Each file adds its own.
var programs = map[string]func() error{}

func TestMain(m *testing.M) { shmtest.Main(m, programs) }

// newDir returns a directory on tmpfs where there is one.
func newDir(t testing.TB) string {
	t.Helper()
	parent := ""
	if runtime.GOOS == "linux" {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "shmheap-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newSeed returns the seed of a random test: a new one, or that of the environment.
func newSeed(t testing.TB) uint64 {
	t.Helper()
	seed := envNumber(t, "SHMHEAP_SEED", rand.Uint64())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay: SHMHEAP_SEED=%d SHMHEAP_STORM=%s go test -count=1 -run '^%s$' ./tests/crash",
				seed, os.Getenv("SHMHEAP_STORM"), t.Name())
		}
	})
	return seed
}

// envNumber returns the number in an environment variable.
func envNumber(t testing.TB, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", variable, err))
	}
	return n
}
