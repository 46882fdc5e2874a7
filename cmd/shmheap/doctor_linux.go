package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// systemExaminations are what Linux has beside what all systems have.
var systemExaminations = []func(*app) factJSON{
	examineKernel, examineShm, examineShmOptions, examineAllocate, examineMembarrier, examineOvercommit, examineHugePages, examineASLR,
	examineWindows, examineAbove, examinePtrace, examineProc, examineModules, examineBPF,
}

// setting reads a file of /proc or /sys, "" when it is not there.
func setting(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func examineKernel(*app) factJSON {
	const name, meaning = "kernel", "Linux 5.10 and later are tested. What an older one lacks is found out by trying, not by its version."
	v, err := sys.KernelVersion()
	if err != nil {
		return noted(name, err.Error(), meaning, "")
	}
	value := fmt.Sprintf("Linux %d.%d (%s)", v.Major, v.Minor, setting("/proc/sys/kernel/osrelease"))
	return either(v.AtLeast(5, 10), name, value, value, meaning, noted, "use a newer kernel, if something fails")
}

// shmDirectory is where heaps lie, or will: its next directory that exists.
func shmDirectory(a *app) string {
	dir := a.dir
	if dir == "" {
		dir = os.Getenv("SHMHEAP_DIR")
	}
	if dir == "" {
		return "/dev/shm"
	}
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func examineShm(a *app) factJSON {
	dir := shmDirectory(a)
	name := "room at " + dir
	const meaning = "The memory of heaps counts against this file system. Where it is full, allocating returns an error and nothing worse."
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return bad(name, err.Error(), meaning, "mount -t tmpfs tmpfs /dev/shm, or keep heaps elsewhere with --dir")
	}
	free, all := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	value := fmt.Sprintf("%s free of %s", size(free), size(all))
	return either(free >= 256<<20, name, value, value, meaning, noted,
		"mount -o remount,size=75% "+dir+"; in a container: docker run --shm-size=4g; or keep heaps elsewhere with --dir")
}

// mount is a line of /proc/self/mountinfo.
type mount struct{ point, kind, options string }

// mountOf returns the mount that a directory lies in.
func mountOf(dir string) (best mount) {
	for line := range strings.Lines(setting("/proc/self/mountinfo") + "\n") {
		before, after, found := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 6 || len(kind) < 3 {
			continue
		}
		m := mount{point: fields[4], kind: kind[0], options: fields[5] + "," + kind[2]}
		inside := m.point == "/" || dir == m.point || strings.HasPrefix(dir, m.point+"/")
		if inside && len(m.point) >= len(best.point) {
			best = m
		}
	}
	return best
}

func examineShmOptions(a *app) factJSON {
	const name = "its mount"
	const meaning = "Heaps on tmpfs are memory; on other file systems the kernel writes them to the disk now and then, which costs time."
	m := mountOf(shmDirectory(a))
	value := fmt.Sprintf("%s on %s, %s", m.kind, m.point, m.options)
	switch {
	case m.kind == "":
		return noted(name, "not known", meaning, "")
	case strings.Contains(","+m.options+",", ",ro,"):
		return bad(name, value, "It can only be read: no heap can be made there.", "mount -o remount,rw "+m.point)
	}
	return either(m.kind == "tmpfs" || m.kind == "hugetlbfs", name, value, value, meaning, noted, "keep heaps on tmpfs: unset --dir and $SHMHEAP_DIR")
}

func examineAllocate(a *app) factJSON {
	const name = "fallocate"
	const meaning = "Storage is allocated before it is touched, so that a full file system is an error and not a signal. File systems that cannot are written to instead, which is slower."
	f, err := os.CreateTemp(shmDirectory(a), "shmheap-doctor")
	if err != nil {
		return noted(name, err.Error(), meaning, "")
	}
	defer os.Remove(f.Name())
	defer f.Close()
	err = sys.Allocate(f, 0, 1<<16)
	if err == nil {
		err = sys.PunchHole(f, 0, 1<<16)
	}
	if errors.Is(err, errors.ErrUnsupported) || err != nil {
		return noted(name, err.Error(), meaning, "keep heaps on tmpfs, ext4, xfs or btrfs")
	}
	return good(name, "works, and gives storage back", meaning)
}

func examineMembarrier(*app) factJSON {
	const name = "membarrier"
	const meaning = "Lets the quick side of some protocols do without barriers. Nothing depends on it; containers may forbid it."
	return either(sys.RegisterThreadBarrier(), name, "there", "not there", meaning, noted, "allow the system call in the container's seccomp profile")
}

func examineOvercommit(*app) factJSON {
	const name = "overcommit"
	const meaning = "The address space of heaps is reserved without claiming memory for it, whatever this says."
	value := setting("/proc/sys/vm/overcommit_memory")
	return either(value != "2", name, "vm.overcommit_memory = "+value, "vm.overcommit_memory = 2, strict", meaning+
		" But other things of Go programs may fail to be mapped.", noted, "sysctl -w vm.overcommit_memory=0")
}

func examineHugePages(*app) factJSON {
	const name = "huge pages"
	const meaning = "With huge pages a large heap misses the TLB less. tmpfs uses them where shmem_enabled, or the mount's option huge=, says so; see doc/recipes.md."
	shmem := chosen(setting("/sys/kernel/mm/transparent_hugepage/shmem_enabled"))
	reserved := setting("/proc/sys/vm/nr_hugepages")
	value := fmt.Sprintf("shmem_enabled %s, %s reserved", shmem, reserved)
	ok := shmem != "never" && shmem != "deny" && shmem != "" || reserved != "0" && reserved != ""
	return either(ok, name, value, value, meaning, noted, "mount -o remount,huge=within_size /dev/shm, or echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled")
}

// chosen is the word in brackets.
func chosen(s string) string {
	_, rest, _ := strings.Cut(s, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

func examineASLR(*app) factJSON {
	const name = "address randomisation"
	const meaning = "The kernel places libraries, stacks and mappings at random in the upper part of the address space; heaps lie below it. With more bits the random part is larger, and still does not reach there."
	value := fmt.Sprintf("randomize_va_space %s, mmap_rnd_bits %s", setting("/proc/sys/kernel/randomize_va_space"), setting("/proc/sys/vm/mmap_rnd_bits"))
	return good(name, value, meaning)
}

func examineAbove(*app) factJSON {
	const name = "addresses above"
	const meaning = "Machines with 5-level paging, or 52 bits on arm64, have addresses that the kernel gives out only on request: shmheap init --above."
	w, err := probe.Above()
	if err != nil {
		return good(name, "none: "+err.Error(), meaning)
	}
	return good(name, w.Range.String(), meaning)
}

func examinePtrace(*app) factJSON {
	const name = "ptrace"
	const meaning = "shmheap run reserves addresses in a program with ptrace before its first instruction, and explain proves reservations with it."
	scope := setting("/proc/sys/kernel/yama/ptrace_scope")
	switch scope {
	case "", "0", "1":
		return good(name, "ptrace_scope "+orNone(scope), meaning)
	case "2":
		return either(os.Geteuid() == 0, name, "ptrace_scope 2, and this is root", "ptrace_scope 2: for root only", meaning+
			" Programs with a fixed address are started from a stamped copy instead.", noted, "sysctl -w kernel.yama.ptrace_scope=1, or use: shmheap stamp")
	}
	return noted(name, "ptrace_scope "+scope+": nobody may", meaning, "use shmheap stamp; the setting stays until the machine starts again")
}

func orNone(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

func examineProc(*app) factJSON {
	const name = "/proc"
	const meaning = "What lies where in this process and in others is read there; without it conflicts have no names, and descriptors cannot be opened anew."
	_, err := os.Stat("/proc/self/maps")
	if err != nil {
		return bad(name, err.Error(), meaning, "mount -t proc proc /proc")
	}
	hidden := strings.Contains(mountOf("/proc").options, "hidepid=2") || strings.Contains(mountOf("/proc").options, "hidepid=invisible")
	return either(!hidden, name, "there", "other users' processes are hidden (hidepid)", meaning, noted, "mount -o remount,hidepid=0 /proc")
}

func examineModules(*app) factJSON {
	const name = "kernel module"
	const meaning = "The kernel side as a module wants its headers and the right to load it. Everything between processes works without."
	release := setting("/proc/sys/kernel/osrelease")
	_, err := os.Stat("/lib/modules/" + release + "/build")
	switch {
	case setting("/proc/sys/kernel/modules_disabled") == "1":
		return noted(name, "modules_disabled 1", meaning, "start the machine again without that sysctl")
	case errors.Is(err, fs.ErrNotExist):
		return noted(name, "no headers of "+release, meaning, "apt-get install linux-headers-"+release)
	}
	return good(name, "headers of "+release, meaning)
}

func examineBPF(*app) factJSON {
	const name = "BPF arena"
	const meaning = "The kernel side without a module wants BTF of the kernel, Linux 6.9 or later, and CAP_BPF."
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	v, _ := sys.KernelVersion()
	switch {
	case err != nil:
		return noted(name, "no /sys/kernel/btf/vmlinux", meaning, "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions' are")
	case !v.AtLeast(6, 9):
		return noted(name, fmt.Sprintf("Linux %d.%d", v.Major, v.Minor), meaning, "use Linux 6.9 or later")
	case os.Geteuid() != 0:
		return noted(name, "kernel has it; not root", meaning, "run as root, or with CAP_BPF and CAP_PERFMON")
	}
	return good(name, "kernel has it", meaning)
}
