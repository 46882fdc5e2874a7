package samples

import (
	"os"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// machines are the kernels as Debian has them.
var machines = []struct{ arch, series string }{{"amd64", "6.12"}, {"amd64", "6.1"}, {"arm64", "6.12"}}

// debian runs a test with a guest of each of them.
func debian(t *testing.T, test func(l *lab)) {
	for _, m := range machines {
		t.Run(m.arch+"-"+m.series, func(t *testing.T) {
			test(newLab(t, m.arch, func() (guest.Kernel, error) { return guest.Debian(m.arch, m.series) }))
		})
	}
}

// TestBuild builds the modules, with all warnings, and runs nothing.
func TestBuild(t *testing.T) {
	debian(t, (*lab).build)
}

// TestDebian runs all samples.
func TestDebian(t *testing.T) {
	debian(t, all)
}

// TestKASAN runs all samples in a kernel that watches memory, locks and leaks. It is built when the cache has none,
// which takes minutes.
func TestKASAN(t *testing.T) {
	if os.Getenv("SHMHEAP_SAMPLES_KASAN") == "" {
		shmtest.SkipAnywhere(t, "for SHMHEAP_SAMPLES_KASAN=1: the kernel takes minutes to build")
	}
	l := newLab(t, "amd64", func() (guest.Kernel, error) {
		return guest.Debug("kasan", func(line string) { t.Log("note: " + line) })
	})
	l.leaks = true
	all(l)
}

// all runs what there is, first what needs no module: a register that is mapped through sysfs.
func all(l *lab) {
	l.build()
	l.program("shmheap", "cmd/shmheap")
	l.test("Register", "Atomics", "Shared", "Unlocked")
	l.insert("veth", "shmheap", "sample_slab", "sample_regs", "sample_qdisc")
	l.test("Slab")
	l.test("Regs")
	l.test("Qdisc")
	l.remove()
	if l.leaks {
		l.steps = append(l.steps, guest.Step{Name: "leaks", Args: []string{guest.Tool, "leaks"}})
	}
	l.run()
}
