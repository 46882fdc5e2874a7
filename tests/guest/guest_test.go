package guest

import (
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/guest/lab"
)

// slow are tests that take a minute where the processor is emulated, and are not about it.
const slow = "^(TestCheckDuringCommit|TestDeathIsFinal|TestHostileTables|TestRootsBusy|TestSurvey.*|TestEstimateCovers.*)$"

// quick are the tests that a pattern matches, but the slow ones. Some must pass.
func quick(pattern string, must ...string) lab.Tests {
	return lab.Tests{Args: []string{"-test.short", "-test.run=" + pattern, "-test.skip=" + slow}, Must: must}
}

// shell adds what scripts call.
func shell(l *lab.Lab) {
	l.Fetch("busybox-static", "bin/busybox")
	for _, applet := range []string{"sh", "cat", "env", "true", "stty", "sleep", "echo", "kill"} {
		l.Add(guest.File{Path: "/bin/" + applet, Link: "busybox"})
	}
}

// document adds what tests compare layouts with.
func document(l *lab.Lab) {
	const format = "doc/format.md"
	l.Add(guest.File{Path: "/src/" + format, Host: filepath.Join(lab.Root, format)})
}

// nodes are the arguments that give a machine of two processors two nodes, with half of the memory each.
var nodes = []string{
	"-object memory-backend-ram,id=ram0,size=512M", "-numa node,nodeid=0,cpus=0,memdev=ram0",
	"-object memory-backend-ram,id=ram1,size=512M", "-numa node,nodeid=1,cpus=1,memdev=ram1",
}

// TestFiveLevels: heaps above 2^47, on a processor with five levels of page tables, in a machine of two nodes.
func TestFiveLevels(t *testing.T) {
	l := lab.Debian(t, "amd64", "6.12")
	l.Guest.Memory, l.Guest.Devices = 1024, nodes
	shell(l)
	l.Program("shmheap", "cmd/shmheap")
	// Without such addresses those that must pass would be skipped.
	l.Test("tests/above", quick("", "TestShared", "TestConflict", "TestJoin", "TestCommand"))
	l.Test("probe", quick("Above|Shared|Conflict|Reserve|Storm|Find|Gaps|Candidates|Guard"))
	l.Test("tests/pages", quick("Interleave", "TestInterleave", "TestInterleaveNodes"))
	l.Run()
}

// TestARM64 runs the tests of addresses, heaps and blocks, and those of the launcher with real programs.
func TestARM64(t *testing.T) {
	l := lab.Debian(t, "arm64", "6.12")
	l.Guest.Memory = 2048
	shell(l)
	document(l)
	l.Program("shmheap", "cmd/shmheap")
	l.Program("go-static", "tests/launch/prober")
	l.Program("go-pie", "tests/launch/prober", "-buildmode=pie")
	for name, flags := range map[string][]string{
		"no-pie": {"-no-pie"}, "pie": {"-fPIE", "-pie"}, "static": {"-static", "-no-pie"}, "static-pie": {"-fPIE", "-static-pie"},
	} {
		l.Compile(name, "tests/launch/testdata/adopt.c", flags...)
	}
	l.Compile("noptrace", "tests/launch/testdata/noptrace.c")
	l.Fetch("libc6", "lib/ld-linux-aarch64.so.1", "lib/aarch64-linux-gnu/libc.so.6")
	l.Fetch("libtinfo6", "lib/aarch64-linux-gnu/libtinfo.so.6")
	l.Fetch("bash", "bin/bash")
	for _, pkg := range []string{"tests/above", "probe", "internal/launch", "tests/launch", "heap", "alloc", "internal/sys"} {
		l.Test(pkg, quick(""))
	}
	l.Run()
}
