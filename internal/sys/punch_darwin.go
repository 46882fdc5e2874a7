package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// PunchHole gives the storage of the n bytes at off back; they read as zero afterwards. Both must be
// multiples of the file system's block size. F_PUNCHHOLE takes an fpunchhole_t {flags, reserved
// uint32; offset, length int64} (xnu, bsd/sys/fcntl.h), which is how an Fstore_t begins.
func PunchHole(f *os.File, off, n int64) error {
	hole := unix.Fstore_t{Offset: off, Length: n}
	return pathError("punch hole", f.Name(), unix.FcntlFstore(f.Fd(), unix.F_PUNCHHOLE, &hole))
}
