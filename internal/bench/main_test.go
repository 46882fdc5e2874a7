package bench

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// dirVariable says where a worker of a test finds its heap.
const dirVariable = "BENCH_TEST_DIR"

func TestMain(m *testing.M) {
	shmtest.Main(m, map[string]func() error{"worker": func() error {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
		job, err := ParseJob(os.Args[2:])
		if err != nil {
			return err
		}
		err = Work(job, os.Args[1], &heap.Options{Dir: os.Getenv(dirVariable)}, os.Stdout)
		if job.Loop == "broken" {
			err = errors.Join(err, errors.New("broken on purpose"))
		}
		return err
	}})
}

// workerIn returns Config.Command for heaps in dir.
func workerIn(dir string) func(*Job, string) *exec.Cmd {
	return func(job *Job, name string) *exec.Cmd {
		cmd := shmtest.Command("worker", append([]string{name}, job.Args()...)...)
		cmd.Env = append(cmd.Env, dirVariable+"="+dir)
		return cmd
	}
}

// heapDir returns a directory as heaps want it: nobody else may look.
func heapDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
