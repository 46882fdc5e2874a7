package guest

import (
	"os"
	"testing"

	"github.com/shmheap/shmheap/internal/guest/lab"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestLargePages: everything about memory on arm64 with pages of 64 KiB, where a page is a granule, and addresses have 52
// bits. Debian has no such kernel, so one is built, which takes a fresh machine minutes: SHMHEAP_GUEST=full asks for it.
func TestLargePages(t *testing.T) {
	if os.Getenv("SHMHEAP_GUEST") != "full" {
		shmtest.SkipAnywhere(t, "a kernel with pages of 64 KiB is built and tested with SHMHEAP_GUEST=full")
	}
	l := lab.Debug(t, "64k")
	l.Guest.Memory = 3072
	shell(l)
	l.Program("shmheap", "cmd/shmheap")
	for _, pkg := range []string{"probe", "internal/sys", "internal/mem", "internal/layout", "heap", "alloc", "queue", "lock",
		"tests/blackbox", "tests/lock", "tests/queue", "kmod/arena", "kmod/bpf"} {
		l.Test(pkg, quick(""))
	}
	l.Test("tests/above", quick("", "TestShared", "TestConflict", "TestJoin", "TestCommand"))
	l.Test("tests/kernel", quick("", "TestArena", "TestArenaByDescriptor"))
	l.Test("tests/pages", quick("", "TestNoNodes"))
	l.Run()
}
