//go:build linux || darwin

package sys

import "golang.org/x/sys/unix"

// Errors with which devices answer.
const (
	EAGAIN    = unix.EAGAIN
	EBADMSG   = unix.EBADMSG
	EBUSY     = unix.EBUSY
	EDQUOT    = unix.EDQUOT
	EMSGSIZE  = unix.EMSGSIZE
	ENOTCONN  = unix.ENOTCONN
	ERANGE    = unix.ERANGE
	ETIMEDOUT = unix.ETIMEDOUT
)
