//go:build !linux

package heap

import (
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
