package guest

import (
	"errors"
	"os"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestLargePages: everything about memory on arm64 with pages of 64 KiB, where a page is a granule, and addresses have 52
// bits. Debian has no such kernel, so one is built, which takes a fresh machine minutes: SHMHEAP_GUEST=full asks for it.
func TestLargePages(t *testing.T) {
	if os.Getenv("SHMHEAP_GUEST") != "full" {
		shmtest.SkipAnywhere(t, "a kernel with pages of 64 KiB is built and tested with SHMHEAP_GUEST=full")
	}
	l := newLab(t, "arm64", "qemu-system-arm")
	k, err := guest.Debug("64k", func(line string) { t.Log("note: " + line) })
	if errors.Is(err, guest.ErrNoCompiler) {
		shmtest.Skip(t, err.Error(), "install gcc-aarch64-linux-gnu")
	}
	l.unlessOffline(err)
	l.build("shmheap", "cmd/shmheap")
	steps := l.test("probe", "internal/sys", "internal/mem", "internal/layout", "heap", "alloc", "queue", "lock",
		"tests/above", "tests/blackbox", "tests/lock", "tests/queue", "tests/kernel", "kmod/arena", "kmod/bpf", "tests/pages")
	r := l.run(guest.Guest{Kernel: k.Image, Steps: steps, Memory: 3072})
	wantPassed(t, r, "tests-above", "TestShared", "TestConflict", "TestJoin", "TestCommand")
	wantPassed(t, r, "tests-kernel", "TestArena", "TestArenaByDescriptor")
	wantPassed(t, r, "tests-pages", "TestNoNodes")
}
