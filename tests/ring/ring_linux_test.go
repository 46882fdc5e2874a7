package ring

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestRing holds the ring against a model, scribbles over it between all operations, and lets threads race on it.
// The seed is printed, and `ring_test ROUNDS SEED` replays it.
func TestRing(t *testing.T) {
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		shmtest.Skip(t, err.Error(), "install gcc")
	}
	seed := fmt.Sprint(time.Now().UnixNano())
	for _, sanitizer := range []string{"address,undefined", "thread"} {
		t.Run(sanitizer, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "ring_test")
			run(t, compiler, "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I../../kmod", "-fsanitize="+sanitizer,
				"-fno-sanitize-recover=all", "../../kmod/tests/ring_test.c", "-o", program, "-lpthread")
			run(t, program, "40000", seed)
		})
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	t.Logf("%s", out)
}
