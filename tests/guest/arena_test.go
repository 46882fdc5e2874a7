package guest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
)

// TestArena: heaps in BPF arenas, and programs in them, on kernels and processors that are not this machine's, and with pages of
// 16 KiB.
func TestArena(t *testing.T) {
	for _, c := range []struct{ arch, series, packages string }{
		{"amd64", "6.12", "qemu-system-x86"}, {"arm64", "6.12-16k", "qemu-system-arm"},
	} {
		t.Run(c.arch, func(t *testing.T) {
			l := newLab(t, c.arch, c.packages)
			r := l.run(guest.Guest{Kernel: l.kernel(c.series), Steps: l.test("tests/kernel", "kmod/arena", "kmod/bpf")})
			wantPassed(t, r, "tests-kernel", "TestArena", "TestArenaByDescriptor", "TestPointers", "TestHostilePointers", "TestHostileQueue",
				"TestDoorbells", "TestKilledClients", "TestWake", "TestStream", "TestDeathNotice", "TestRecorder", "TestShaperVerdict")
		})
	}
}

// TestNoArena: a kernel from before arenas is told from one that forbids them.
func TestNoArena(t *testing.T) {
	l := newLab(t, "amd64", "qemu-system-x86")
	l.only = "File|Arena"
	r := l.run(guest.Guest{Kernel: l.kernel("6.1"), Steps: l.test("tests/kernel")})
	if step, _ := r.Step("tests-kernel"); !strings.Contains(step.Output, "needs Linux 6.9, this is 6.1") {
		t.Errorf("no word of what an arena needs:\n%s", step.Output)
	}
}

// wantPassed fails the test unless those of a step have passed: in a guest a test may be skipped.
func wantPassed(t *testing.T, r *guest.Result, name string, tests ...string) {
	t.Helper()
	step, _ := r.Step(name)
	for _, test := range tests {
		if !regexp.MustCompile(`(?m)^--- PASS: ` + test + `\b`).MatchString(step.Output) {
			t.Errorf("%s did not pass in the guest", test)
		}
	}
}
