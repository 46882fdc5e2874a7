//go:build linux || darwin

package sys

import "golang.org/x/sys/unix"

// Errors with which devices answer.
const (
	EAGAIN    = unix.EAGAIN
	EBADMSG   = unix.EBADMSG
	EBUSY     = unix.EBUSY
	EDQUOT    = unix.EDQUOT
	EILSEQ    = unix.EILSEQ
	EMSGSIZE  = unix.EMSGSIZE
	ENOSPC    = unix.ENOSPC
	ENOTCONN  = unix.ENOTCONN
	ERANGE    = unix.ERANGE
	ETIMEDOUT = unix.ETIMEDOUT
)
