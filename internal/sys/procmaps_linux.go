package sys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// EachMappingOf is EachMapping for another process. The kernel decides when the file is opened: it
// wants the same user (or CAP_SYS_PTRACE), a program that may be dumped, and the same or an inner pid
// namespace. A process that has ended, and a thread of the kernel, have no mappings.
func EachMappingOf(pid int, visit func(Mapping) error) error {
	f, err := os.Open(procPath(pid, "maps"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := scanMappings(f, visit); err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return nil
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// ProcessExists reports whether there is a process, or a zombie, with this id.
func ProcessExists(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// HasProc reports whether /proc is there and shows this process.
func HasProc() bool {
	_, err := os.Stat("/proc/self/maps")
	return err == nil
}

// IsGone reports whether an error of this file's functions says that there is no such process.
func IsGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// ProcessName returns the short name of a process, or "".
func ProcessName(pid int) string {
	name, err := os.ReadFile(procPath(pid, "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(name), "\n")
}

// StateOf returns what a process does.
func StateOf(pid int) (ProcessState, error) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return ProcessState{}, err
	}
	state, ticks, err := parseStat(text)
	if err != nil {
		return ProcessState{}, err
	}
	if isZombie(state) && !hasThreads(pid) {
		return ProcessState{Ended: true, Ticks: ticks}, nil
	}
	blocked, err := threadsBlocked(pid)
	return ProcessState{Blocked: blocked, Ticks: ticks}, err
}

// parseStat reads the state and the processor time from /proc/PID/stat (man 5 proc_pid_stat). The name
// in parentheses may hold anything, a parenthesis included.
func parseStat(text []byte) (state byte, ticks uint64, err error) {
	_, rest, ok := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 13 || len(fields[0]) != 1 {
		return 0, 0, fmt.Errorf("process state %q: too short", text)
	}
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("process state %q: %w", text, err)
		}
		ticks += n
	}
	return fields[0][0], ticks, nil
}

// isBlocked reports whether a thread in this state neither runs nor is about to.
func isBlocked(state byte) bool { return state != 'R' && state != 'D' }

func isZombie(state byte) bool { return state == 'Z' || state == 'X' }

// hasThreads reports whether threads live on behind a main thread that has ended.
func hasThreads(pid int) bool {
	threads, err := os.ReadDir(procPath(pid, "task"))
	return err == nil && len(threads) > 1
}

func threadsBlocked(pid int) (bool, error) {
	threads, err := os.ReadDir(procPath(pid, "task"))
	if err != nil {
		return false, err
	}
	for _, thread := range threads {
		text, err := os.ReadFile(filepath.Join(procPath(pid, "task"), thread.Name(), "stat"))
		if IsGone(err) {
			return false, nil // a thread has just ended: something goes on
		}
		if err != nil {
			return false, err
		}
		state, _, err := parseStat(text)
		if err != nil || !isBlocked(state) {
			return false, err
		}
	}
	return true, nil
}

// ChildrenOf returns the children of a process, as far as they live. Kernels without
// CONFIG_PROC_CHILDREN show none.
func ChildrenOf(pid int) ([]int, error) {
	files, err := filepath.Glob(procPath(pid, "task/*/children"))
	if err != nil {
		return nil, err
	}
	var children []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil && !IsGone(err) {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			children = append(children, child)
		}
	}
	return children, nil
}

// OwnGroup makes a command lead a process group of its own, and makes the kernel kill it when the
// thread that starts it ends.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// KillGroup kills every process of the group that pid leads. A group that is gone is no error.
func KillGroup(pid int) error {
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("kill", err)
	}
	return nil
}

// CurrentSettings returns what programs that are started now are subject to.
func CurrentSettings() Settings {
	s := Settings{
		Randomise:  readSysctl("kernel/randomize_va_space"),
		RandomBits: readSysctl("vm/mmap_rnd_bits"),
		StackLimit: -1,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		s.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &limit) == nil {
		s.StackLimit = int64(min(limit.Cur, math.MaxInt64))
		if limit.Cur == unix.RLIM_INFINITY {
			s.StackLimit = 0
		}
	}
	return s
}

func readSysctl(name string) int64 {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
