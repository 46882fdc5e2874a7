//go:build darwin

package sys

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system call behind libproc's proc_pidinfo (xnu bsd/kern/syscalls.master, bsd/sys/proc_info.h).
// x/sys does not wrap it.
const (
	sysProcInfo           = 336
	procInfoCallPIDInfo   = 2
	procPIDRegionPathInfo = 8
	shareShared           = 4 // SM_SHARED
	shareTrueShared       = 5 // SM_TRUESHARED
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
func EachMapping(visit func(Mapping) error) error {
	for address := uint64(0); ; {
		var r region
		_, _, errno := syscall.Syscall6(sysProcInfo, procInfoCallPIDInfo, uintptr(os.Getpid()), procPIDRegionPathInfo,
			uintptr(address), uintptr(unsafe.Pointer(&r)), unsafe.Sizeof(r))
		if errors.Is(errno, unix.EINVAL) { // nothing at or above address
			return nil
		}
		if errno != 0 {
			return fmt.Errorf("proc_info: %w", errno)
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

func (r *region) mapping() Mapping {
	perms := []byte("---p")
	for i, letter := range []byte("rwx") { // VM_PROT_READ, WRITE and EXECUTE are 1, 2 and 4
		if r.protection&(1<<i) != 0 {
			perms[i] = letter
		}
	}
	if r.shareMode == shareShared || r.shareMode == shareTrueShared {
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
