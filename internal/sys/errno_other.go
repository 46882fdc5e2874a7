//go:build !linux && !darwin

package sys

import "errors"

// Errors with which devices answer: there are none on this system.
var (
	EAGAIN    = errors.New("EAGAIN")
	EBADMSG   = errors.New("EBADMSG")
	EBUSY     = errors.New("EBUSY")
	EDQUOT    = errors.New("EDQUOT")
	EILSEQ    = errors.New("EILSEQ")
	EMSGSIZE  = errors.New("EMSGSIZE")
	ENOSPC    = errors.New("ENOSPC")
	ENOTCONN  = errors.New("ENOTCONN")
	ERANGE    = errors.New("ERANGE")
	ETIMEDOUT = errors.New("ETIMEDOUT")
)
