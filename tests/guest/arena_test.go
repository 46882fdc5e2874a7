package guest

import (
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest/lab"
)

// TestArena: heaps in BPF arenas, and programs in them, on kernels and processors that are not this machine's, and
// with pages of 16 KiB.
func TestArena(t *testing.T) {
	for arch, series := range map[string]string{"amd64": "6.12", "arm64": "6.12-16k"} {
		t.Run(arch, func(t *testing.T) {
			l := lab.Debian(t, arch, series)
			shell(l) // a program to start
			l.Test("tests/kernel", quick("", "TestArena", "TestArenaByDescriptor", "TestPointers", "TestHostilePointers", "TestHostileQueue",
				"TestDoorbells", "TestKilledClients", "TestWake", "TestStream", "TestDeathNotice", "TestRecorder", "TestShaperVerdict"))
			l.Test("kmod/arena", quick(""))
			l.Test("kmod/bpf", quick(""))
			l.Run()
		})
	}
}

// TestNoArena: a kernel from before arenas is told from one that forbids them.
func TestNoArena(t *testing.T) {
	l := lab.Debian(t, "amd64", "6.1")
	l.Test("tests/kernel", quick("File|Arena"))
	if step, _ := l.Run().Step("tests-kernel"); !strings.Contains(step.Output, "needs Linux 6.9, this is 6.1") {
		t.Errorf("no word of what an arena needs:\n%s", step.Output)
	}
}
