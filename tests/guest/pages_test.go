package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
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
	const format = "doc/format.md" // which tests compare layouts with
	l.Add(guest.File{Path: "/src/" + format, Host: filepath.Join(lab.Root, format)})
	for _, pkg := range []string{"probe", "internal/sys", "internal/mem", "internal/layout", "heap", "alloc", "queue", "lock",
		"tests/blackbox", "tests/lock", "tests/queue"} {
		l.Test(pkg, quick(""))
	}
	l.Test("tests/above", quick("", "TestShared", "TestConflict", "TestJoin", "TestCommand"))
	// This kernel does not tell its types, which is what giving storage back needs, and some programs.
	const withoutTypes = "^(TestArena|TestPlainProcess|TestWrongBase|TestStream|TestPopPush|TestManyLaps|TestPointers|TestHostile.*|TestWake)$/" +
		"^(Deaths|Pointers|Full|Limit|Locks|Queues|Watch|Twice|Roots)$"
	l.Test("tests/kernel", quick(withoutTypes, "TestArena", "TestStream", "TestHostilePointers", "TestWake"))
	l.Test("tests/pages", quick("", "TestNoNodes"))
	l.Run()
}
