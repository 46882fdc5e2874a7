// Command init is the first process of a guest (see package guest): it mounts what programs expect, runs
// the steps of its plan, tells of each on the console, and turns the machine off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/shmheap/shmheap/internal/guest"
)

func main() {
	if os.Getpid() != 1 {
		if err := tool(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	err := run()
	if err != nil {
		say("error %v", err)
	} else {
		say("done")
	}
	drain()
	// QEMU is told not to restart, so this ends it, on machines without power management too.
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	select {}
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	text, err := os.ReadFile(guest.PlanPath)
	if err != nil {
		return err
	}
	var plan guest.Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return err
	}
	log, err := openLog()
	if err != nil {
		return err
	}
	if err := log.repeat(); err != nil {
		return err
	}
	for _, step := range plan.Steps {
		say("step %s", step.Name)
		begin := time.Now()
		status, err := runStep(step)
		if err := errors.Join(err, log.repeat()); err != nil {
			return fmt.Errorf("step %s: %w", step.Name, err)
		}
		say("end %s %d %d", step.Name, status, time.Since(begin).Milliseconds())
	}
	return nil
}

// say writes a line of its own, also when a program has left half a line.
func say(format string, args ...any) { fmt.Printf("\n"+guest.Marker+format+"\n", args...) }

func mountAll() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"devpts", "/dev/pts"}, {"tmpfs", "/dev/shm"}, {"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.at, err)
		}
	}
	for _, m := range []struct{ kind, at string }{{"debugfs", "/sys/kernel/debug"}, {"tracefs", "/sys/kernel/tracing"}} {
		_ = syscall.Mount(m.kind, m.at, m.kind, 0, "") // not every kernel has them
	}
	return os.Symlink("/proc/self/fd", "/dev/fd")
}

// runStep runs one step and returns its status, as a shell shows it. Orphans of the programs are children
// of this process, and waited for like them.
func runStep(step guest.Step) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	process, err := os.StartProcess(step.Args[0], step.Args, &os.ProcAttr{
		Dir: step.Dir, Files: []*os.File{null, os.Stdout, os.Stderr},
		Env: append([]string{"PATH=/bin:/usr/bin", "HOME=/tmp", "TMPDIR=/tmp"}, step.Env...),
	})
	if err != nil {
		return 0, err
	}
	if step.Timeout > 0 {
		late := time.AfterFunc(step.Timeout, func() {
			say("late %s", step.Name)
			_ = syscall.Kill(process.Pid, syscall.SIGKILL)
		})
		defer late.Stop()
	}
	return waitFor(process.Pid)
}

func waitFor(pid int) (int, error) {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case ended == pid:
			return status.ExitStatus(), nil
		}
	}
}

// drain waits until the console has taken everything (tcdrain).
func drain() {
	const tcsbrk = 0x5409
	_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, 1, tcsbrk, 1)
}
