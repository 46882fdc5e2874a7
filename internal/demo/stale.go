package demo

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/shmheap/shmheap/heap"
)

// namePrefix is what the names of the demo's heaps start with; the rest is
// the parent's process id.
const namePrefix = "demo-"

// sweepStale removes the heaps of demos whose parent was killed. It is a
// courtesy: what it cannot do, it leaves.
func sweepStale(dir string) {
	infos, err := heap.List(&heap.Options{Dir: dir})
	if err != nil {
		return
	}
	for _, info := range infos {
		number, ok := strings.CutPrefix(info.Name, namePrefix)
		pid, err := strconv.Atoi(number)
		if ok && err == nil && pid > 0 && !running(pid) {
			heap.Remove(info.Name, &heap.Options{Dir: dir}) // refused while anybody is attached
		}
	}
}

// running reports whether there may be a process with this id. One that is not
// ours is running, too.
func running(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release()
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
