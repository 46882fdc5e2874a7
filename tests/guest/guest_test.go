package guest

import (
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
)

// TestFiveLevels: heaps above 2^47, on a processor with five levels of page tables, in a machine of two nodes.
func TestFiveLevels(t *testing.T) {
	l := newLab(t, "amd64", "qemu-system-x86")
	l.build("shmheap", "cmd/shmheap")
	l.only = "Above|Shared|Conflict|Join|Command|Reserve|Storm|Find|Gaps|Candidates|Guard|Interleave"
	steps := l.test("tests/above", "probe", "tests/pages")
	r := l.run(guest.Guest{Kernel: l.kernel("6.12"), Steps: steps, Memory: 1024, Devices: []string{
		"-object memory-backend-ram,id=ram0,size=512M", "-numa node,nodeid=0,cpus=0,memdev=ram0",
		"-object memory-backend-ram,id=ram1,size=512M", "-numa node,nodeid=1,cpus=1,memdev=ram1",
	}})
	// Without such addresses they would have been skipped.
	wantPassed(t, r, "tests-above", "TestShared", "TestConflict", "TestJoin", "TestCommand")
	wantPassed(t, r, "tests-pages", "TestInterleave", "TestInterleaveNodes")
}

// TestARM64 runs the tests of addresses, heaps and blocks, and those of the launcher with real programs.
func TestARM64(t *testing.T) {
	l := newLab(t, "arm64", "qemu-system-arm")
	l.build("shmheap", "cmd/shmheap")
	l.build("go-static", "tests/launch/prober")
	l.build("go-pie", "tests/launch/prober", "-buildmode=pie")
	for name, flags := range map[string][]string{
		"no-pie": {"-no-pie"}, "pie": {"-fPIE", "-pie"}, "static": {"-static", "-no-pie"}, "static-pie": {"-fPIE", "-static-pie"},
	} {
		l.compile(name, "tests/launch/testdata/adopt.c", flags...)
	}
	l.compile("noptrace", "tests/launch/testdata/noptrace.c")
	l.fetch("libc6", "lib/ld-linux-aarch64.so.1", "lib/aarch64-linux-gnu/libc.so.6")
	l.fetch("libtinfo6", "lib/aarch64-linux-gnu/libtinfo.so.6")
	l.fetch("bash", "bin/bash")
	steps := l.test("tests/above", "probe", "internal/launch", "tests/launch", "heap", "alloc", "internal/sys")
	l.run(guest.Guest{Kernel: l.kernel("6.12"), Steps: steps, Memory: 2048})
}
