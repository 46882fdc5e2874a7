//go:build darwin

package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system call behind libproc's proc_pidinfo (xnu bsd/kern/syscalls.master, bsd/sys/proc_info.h).
// x/sys does not wrap it.
const (
	sysProcInfo           = 336
	procInfoCallPIDInfo   = 2
	procPIDTaskInfo       = 4
	procPIDRegionPathInfo = 8
)

// How a region is shared (xnu osfmk/mach/vm_region.h).
const (
	sharePrivate        = 2 // SM_PRIVATE
	shareShared         = 4 // SM_SHARED
	shareTrueShared     = 5 // SM_TRUESHARED
	sharePrivateAliased = 6 // SM_PRIVATE_ALIASED
	shareSharedAliased  = 7 // SM_SHARED_ALIASED
)

// region is struct proc_regionwithpathinfo.
type region struct {
	protection, maxProtection, inheritance, flags uint32
	offset                                        uint64
	_                                             [9]uint32 // behavior .. shadow_depth
	shareMode                                     uint32
	_                                             [4]uint32 // private_pages_resident .. depth
	address, size                                 uint64
	_                                             [8]byte // vst_dev, vst_mode, vst_nlink
	inode                                         uint64
	_                                             [136]byte // the rest of struct vnode_info
	path                                          [1024]byte
}

// The kernel refuses a smaller buffer and fills exactly this much.
var _ [1272]byte = [unsafe.Sizeof(region{})]byte{}

// EachMapping calls visit for every mapping of this process, ascending, and stops at the first error.
// It is no snapshot: what is mapped or unmapped meanwhile may or may not be seen. A submap, such as
// the shared region of dyld, counts as one mapping.
//
// It was written from the xnu sources and has not been run.
func EachMapping(visit func(Mapping) error) error { return EachMappingOf(os.Getpid(), visit) }

// EachMappingOf is EachMapping for another process, of the same user or for root (xnu bsd/kern/proc_info.c). A
// zombie has no mappings.
func EachMappingOf(pid int, visit func(Mapping) error) error {
	for address := uint64(0); ; {
		var r region
		errno := procInfo(pid, procPIDRegionPathInfo, address, unsafe.Pointer(&r), unsafe.Sizeof(r))
		if errors.Is(errno, unix.EINVAL) { // nothing at or above address
			return nil
		}
		if errno != nil {
			return errno
		}
		m := r.mapping()
		if m.End <= address {
			return fmt.Errorf("proc_info: region ends at %#x, asked from %#x", m.End, address)
		}
		if err := visit(m); err != nil {
			return err
		}
		address = m.End
	}
}

// procInfo is libproc's proc_pidinfo.
func procInfo(pid, flavor int, argument uint64, to unsafe.Pointer, size uintptr) error {
	_, _, errno := syscall.Syscall6(sysProcInfo, procInfoCallPIDInfo, uintptr(pid), uintptr(flavor),
		uintptr(argument), uintptr(to), size)
	if errno != 0 {
		return fmt.Errorf("proc_info of process %d: %w", pid, errno)
	}
	return nil
}

// task is struct proc_taskinfo.
type task struct {
	virtual, resident         uint64
	user, system              uint64 // processor time in units of mach_absolute_time
	threadsUser, threadSystem uint64
	_                         [9]int32 // policy .. csw
	threads, running          int32
	priority                  int32
}

var _ [96]byte = [unsafe.Sizeof(task{})]byte{}

// taskState returns how much a process has run and whether it does now. A thread that waits for a disk counts as blocked.
func taskState(pid int) (ProcessState, error) {
	var t task
	if err := procInfo(pid, procPIDTaskInfo, 0, unsafe.Pointer(&t), unsafe.Sizeof(t)); err != nil {
		return ProcessState{}, err
	}
	ns := t.user + t.system
	if runtime.GOARCH == "arm64" { // 24 MHz
		ns = ns * 125 / 3
	}
	const tick = 10_000_000
	return ProcessState{Blocked: t.running == 0, Ticks: ns / tick}, nil
}

// shared reports whether others see what is stored here. The kernel tells how many have the memory now: a file that one
// process has mapped, once or several times, counts as private (fill_procregioninfo), and a file's private mapping as
// one that is copied.
func (r *region) shared() bool {
	switch r.shareMode {
	case shareShared, shareTrueShared, shareSharedAliased:
		return true
	case sharePrivate, sharePrivateAliased:
		return r.inode != 0
	}
	return false
}

func (r *region) mapping() Mapping {
	perms := []byte("---p")
	for i, letter := range []byte("rwx") { // VM_PROT_READ, WRITE and EXECUTE are 1, 2 and 4
		if r.protection&(1<<i) != 0 {
			perms[i] = letter
		}
	}
	if r.shared() {
		perms[3] = 's'
	}
	return Mapping{
		Start:  r.address,
		End:    r.address + r.size,
		Perms:  string(perms),
		Offset: r.offset,
		Inode:  r.inode,
		Path:   unix.ByteSliceToString(r.path[:]),
	}
}

// AddressBits returns the width of an address of this process in bits: 47 on both processors.
func AddressBits() (int, error) { return 47, nil }
