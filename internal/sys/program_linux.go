package sys

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ExecutableMemory makes a file without a name to write a program to.
func ExecutableMemory(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 there was no MFD_EXEC, and all could be executed
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, pathError("create memfd", name, err)
	}
	return os.NewFile(uintptr(fd), "memfd:"+name), nil
}

// PathOf returns a path that leads to the file behind f while that is open.
func PathOf(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// Privileged reports whether executing f gives other rights than those of the caller: it is setuid or
// setgid, or it has capabilities.
func Privileged(f *os.File) (bool, error) {
	info, err := Stat(f)
	if err != nil {
		return false, err
	}
	const execByGroup = 0o010
	if info.Mode&unix.S_ISUID != 0 || info.Mode&(unix.S_ISGID|execByGroup) == unix.S_ISGID|execByGroup {
		return true, nil
	}
	n, err := unix.Fgetxattr(int(f.Fd()), "security.capability", nil)
	return err == nil && n > 0, nil
}

// OpenProgram opens the executable of this process, also when its name is gone.
func OpenProgram() (*os.File, error) { return os.Open("/proc/self/exe") }

// OpenProgramOf opens the executable of another process.
func OpenProgramOf(pid int) (*os.File, error) { return os.Open(procPath(pid, "exe")) }

// ReadOwn fills buf from the memory of this process at address. It reads memory without access too,
// except where the kernel was told not to (proc_mem.force_override).
func ReadOwn(address uint64, buf []byte) error { return readMemory("/proc/self/mem", address, buf) }

// ReadMemoryOf is ReadOwn for another process, which this one must be allowed to trace.
func ReadMemoryOf(pid int, address uint64, buf []byte) error {
	return readMemory(procPath(pid, "mem"), address, buf)
}

func readMemory(path string, address uint64, buf []byte) error {
	if address > math.MaxInt64 {
		return pathError("read", path, unix.EFAULT)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(buf, int64(address))
	return err
}

// EnvironmentOf returns the value of a variable with which another process was started, "" where it had
// none.
func EnvironmentOf(pid int, name string) (string, error) {
	text, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return "", err
	}
	for variable := range strings.SplitSeq(string(text), "\x00") {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value, nil
		}
	}
	return "", nil
}
