package guest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Guest is a machine to boot. Arch and Kernel must be given.
type Guest struct {
	Arch    string // amd64 or arm64
	Kernel  string // its image, as Kernel returns it
	Files   []File
	Steps   []Step
	Append  string   // to the kernel's command line
	Devices []string // of QEMU, such as edu; one that begins with a dash is another option, with its value behind a space
	CPU     string   // a model of QEMU; "" is max: all that it can emulate
	CPUs    int      // 0 is 2
	Memory  int      // MiB; 0 is 1024, the initramfs included
	Console func(line string)

	bootTime time.Duration // 0 is the constant of that name
}

// ErrFailed: the guest did not run all its steps. The error has the end of its console.
var ErrFailed = errors.New("guest failed")

// ErrNoEmulator: QEMU for the guest's processor is not installed.
var ErrNoEmulator = errors.New("no emulator")

// Emulator returns the path of QEMU for an architecture.
func Emulator(arch string) (string, error) {
	m, ok := machines[arch]
	if !ok {
		return "", fmt.Errorf("guest %s: %w", arch, errors.ErrUnsupported)
	}
	path, err := exec.LookPath(m.program)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoEmulator, err)
	}
	return path, nil
}

// machine is how QEMU is called for an architecture.
type machine struct {
	program string
	args    []string
	cpu     string // features of the model max
	console string
	append  string
}

// Both emulate, also where the host offers KVM: what is tested must be the same everywhere.
var machines = map[string]machine{
	"amd64": {
		program: "qemu-system-x86_64", args: []string{"-M", "pc"}, cpu: "max", console: "ttyS0",
		append: "tsc=reliable no_timer_check mitigations=off",
	},
	"arm64": {
		program: "qemu-system-aarch64", args: []string{"-M", "virt"}, console: "ttyAMA0",
		cpu: "max,pauth-impdef=on", // the architected algorithm takes half of the time
	},
}

// Run boots the guest, runs its steps and returns what they did. A step that fails is no error. It
// returns ErrFailed when the guest crashes, hangs until ctx is done, or cannot start a step; and
// ErrNoEmulator. One that crashes or hangs before its first process begins is booted again.
func (g *Guest) Run(ctx context.Context) (*Result, error) {
	qemu, err := Emulator(g.Arch)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initramfs := filepath.Join(dir, "initramfs")
	if err := g.pack(dir, initramfs); err != nil {
		return nil, err
	}
	return g.bootAll(ctx, qemu, initramfs)
}

// bootAll runs the machine, several times if need be.
func (g *Guest) bootAll(ctx context.Context, qemu, initramfs string) (*Result, error) {
	// Emulated, a kernel now and then crashes or hangs before its first process: that is not about what is tested.
	const boots = 3
	for boot := 1; ; boot++ {
		r, err := g.boot(ctx, qemu, initramfs)
		if err == nil || r.begun || ctx.Err() != nil || boot == boots {
			r.Boots = boot
			return r, err
		}
	}
}

// bootTime is how long the first process may be in coming, on a machine that has other things to do.
const bootTime = 4 * time.Minute

var errNoFirstProcess = errors.New("the kernel did not come to its first process")

// boot runs the machine once.
func (g *Guest) boot(ctx context.Context, qemu, initramfs string) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(cmp.Or(g.bootTime, bootTime), func() { cancel(errNoFirstProcess) })
	defer late.Stop()
	cmd := exec.CommandContext(ctx, qemu, g.arguments(initramfs)...)
	console := &console{tell: g.Console, begin: func() { late.Stop() }}
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = console, &complaints
	err := cmd.Run()
	r := console.result()
	if err == nil && r.complete {
		return r, nil
	}
	return r, fmt.Errorf("%w: %s/%s: %w%s\n%s", ErrFailed, g.Arch, filepath.Base(g.Kernel),
		cmp.Or(context.Cause(ctx), err, errors.New("it ended before its last step")), complaints.String(), r.tail())
}

// pack writes the initramfs.
func (g *Guest) pack(dir, initramfs string) error {
	first := filepath.Join(dir, "init")
	if err := Build(g.Arch, "build", "-o", first, "github.com/shmheap/shmheap/internal/guest/init"); err != nil {
		return err
	}
	plan, err := json.Marshal(Plan{g.Steps})
	if err != nil {
		return err
	}
	f, err := os.Create(initramfs)
	if err != nil {
		return err
	}
	files := append([]File{{Path: "/init", Host: first}, {Path: PlanPath, Data: plan}}, g.Files...)
	return errors.Join(writeInitramfs(f, files), f.Close())
}

// patience is for a machine that has to wait for others: the kernel would complain that its processors
// stand still. The log is made long enough for what is said between two steps.
const patience = "rcupdate.rcu_cpu_stall_timeout=300 watchdog_thresh=60 log_buf_len=2M"

func (g *Guest) arguments(initramfs string) []string {
	m, cpus := machines[g.Arch], strconv.Itoa(cmp.Or(g.CPUs, 2))
	line := "console=" + m.console + " panic=-1 quiet random.trust_cpu=on " + patience + " " + m.append + " " + g.Append
	args := append(slices.Clone(m.args),
		"-accel", "tcg,thread=multi", "-cpu", cmp.Or(g.CPU, m.cpu),
		"-smp", cpus+",sockets="+cpus, // of which each may be in a node of its own
		"-m", strconv.Itoa(cmp.Or(g.Memory, 1024)),
		"-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
		"-kernel", g.Kernel, "-initrd", initramfs, "-append", line)
	for _, d := range g.Devices {
		option, value, ok := strings.Cut(d, " ")
		if !ok || !strings.HasPrefix(option, "-") {
			option, value = "-device", d
		}
		args = append(args, option, value)
	}
	return args
}
