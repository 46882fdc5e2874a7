package heap

import (
	"fmt"
	"os"
)

// defaultDir is on tmpfs, where a shared mapping is memory and nothing else.
func defaultDir() (string, error) {
	return fmt.Sprintf("/dev/shm/shmheap-%d", os.Geteuid()), nil
}

// groupDir is the same for the members of a group.
func groupDir(gid int) (string, error) { return fmt.Sprintf("/dev/shm/shmheap-g%d", gid), nil }
