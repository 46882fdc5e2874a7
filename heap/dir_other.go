//go:build !linux

package heap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// defaultDir is the user's cache directory: these systems have no tmpfs for shared memory.
func defaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "shmheap"), nil
}

// groupDir has no directory to offer that the members of a group have in common.
func groupDir(int) (string, error) {
	return "", fmt.Errorf("a directory for the heaps of a group: %w: set Options.Dir", errors.ErrUnsupported)
}
