package guest

import (
	"testing"

	"github.com/shmheap/shmheap/internal/guest/lab"
)

// TestLargePages: everything about memory on arm64 with pages of 64 KiB, where a page is a granule, and addresses have 52
// bits.
func TestLargePages(t *testing.T) {
	l := lab.LargePages(t)
	l.Guest.Memory = 3072
	shell(l)
	l.Program("shmheap", "cmd/shmheap")
	document(l)
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
