package samples

import (
	"os"
	"strconv"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{
		"writer": runWriter, "keeper": runKeeper, "caches": runCaches, "cacheinfo": runCacheInfo,
		"holder": runHolder, "echo": runEcho,
	})
}

// needGuest skips a test outside of the machines of tests/kmod.
func needGuest(t *testing.T) {
	t.Helper()
	if os.Getenv("SHMHEAP_SAMPLES") == "" {
		shmtest.SkipAnywhere(t, "runs in a machine of tests/kmod")
	}
}

// kills returns how many processes a test kills: KMOD_KILLS, or what is enough for each change.
func kills(t *testing.T, otherwise int) int {
	t.Helper()
	text, ok := os.LookupEnv("KMOD_KILLS")
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// heapDir returns a directory for heaps in memory.
func heapDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "shmheap-samples-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// write writes to a file of sysfs or tracefs, which is there.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}
