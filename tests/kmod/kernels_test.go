package kmod

import (
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
)

// TestKernels fills the cache, so that what comes after it is not timed with it.
func TestKernels(t *testing.T) {
	for _, name := range []string{"kasan", "kcsan"} {
		if _, err := guest.Debug(name, func(line string) { t.Log("note: " + line) }); err != nil {
			t.Error(err)
		}
	}
}
