//go:build linux || darwin

package sys

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// AddressLimit returns the soft limit of this process's address space (RLIMIT_AS) in bytes, or
// math.MaxUint64 where there is none.
func AddressLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &limit); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if limit.Cur == unix.RLIM_INFINITY {
		return math.MaxUint64, nil
	}
	return limit.Cur, nil
}
