package bench

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
)

// Machine is where it was measured.
type Machine struct {
	CPU        string
	Processors int // that could be used
	Cores      int // of those, the ones that are not one core's second thread
	Kernel     string
	System     string // GOOS/GOARCH
	PageSize   int
	Go         string
	Compiler   string // of the peers
}

// DescribeMachine names the machine, without a compiler.
func DescribeMachine(ctx context.Context) Machine {
	m, _ := describeMachine(ctx, "")
	return m
}

// describeMachine names the machine, and the processors to run on, one of each core first.
func describeMachine(ctx context.Context, compiler string) (m Machine, cpus []int) {
	cpus, cores := coresFirst()
	m = Machine{
		CPU: cpuModel(), Processors: len(cpus), Cores: cores, Kernel: firstLine("/proc/sys/kernel/osrelease"),
		System: runtime.GOOS + "/" + runtime.GOARCH, PageSize: os.Getpagesize(), Go: runtime.Version(),
	}
	if compiler != "" {
		if out, err := exec.CommandContext(ctx, compiler, "--version").Output(); err == nil {
			line, _, _ := bytes.Cut(out, []byte("\n"))
			m.Compiler = string(line)
		}
	}
	return m, cpus
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// coresFirst returns the processors that may be used, and how many of them, the first ones, are on cores of
// their own.
func coresFirst() (cpus []int, cores int) {
	all, err := sys.Processors()
	if err != nil {
		return nil, 0
	}
	var second []int
	seen := make(map[string]bool)
	for _, cpu := range all {
		core := firstLine("/sys/devices/system/cpu/cpu" + strconv.Itoa(cpu) + "/topology/thread_siblings_list")
		if core != "" && seen[core] {
			second = append(second, cpu)
			continue
		}
		seen[core] = true
		cpus = append(cpus, cpu)
	}
	return append(cpus, second...), len(cpus)
}
