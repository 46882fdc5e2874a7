package kmod

import (
	"os"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestLargePages runs everything in a kernel with pages of 64 KiB. Debian has none, so one is built, which takes a fresh machine
// minutes: SHMHEAP_GUEST=full asks for it.
func TestLargePages(t *testing.T) {
	if os.Getenv("SHMHEAP_GUEST") != "full" {
		shmtest.SkipAnywhere(t, "a kernel with pages of 64 KiB is built and tested with SHMHEAP_GUEST=full")
	}
	newLab(t, debug(t, "64k")).everything("")
}
