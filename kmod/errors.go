package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/shmheap/shmheap/internal/sys"
)

// Errors of this package, to be tested with errors.Is. Those of packages heap, alloc and queue come through
// unchanged; a name that is taken or leads nowhere is fs.ErrExist or fs.ErrNotExist.
var (
	ErrNoModule     = errors.New("kernel module shmheap is not inserted")
	ErrPermission   = errors.New("not allowed to open the device")
	ErrVersion      = errors.New("kernel module speaks another version")
	ErrPlatform     = errors.New("kernel modules are for Linux")
	ErrOptions      = errors.New("invalid options")
	ErrQuota        = errors.New("quota exceeded")
	ErrBusy         = errors.New("in use")
	ErrNotConnected = errors.New("not connected")
	ErrTooLong      = errors.New("message is too long")
	ErrCorrupt      = errors.New("nonsense in shared memory")
	ErrNoRegion     = errors.New("instance has no region")
)

// UnavailableError says why there is no device to work with, and what to do about it.
type UnavailableError struct {
	Why  error  // ErrNoModule, ErrPermission, ErrVersion or ErrPlatform
	Err  error  // what the system says, or nil
	Help string // what to do
}

// Error says all of it.
func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%v: %s", e.Why, e.Help)
	}
	return fmt.Sprintf("%v: %v: %s", e.Why, e.Err, e.Help)
}

// Unwrap returns what errors.Is finds.
func (e *UnavailableError) Unwrap() []error { return []error{e.Why, e.Err} }

// unavailable explains an error of opening the device.
func unavailable(err error) error {
	switch {
	case runtime.GOOS != "linux":
		return &UnavailableError{ErrPlatform, errors.ErrUnsupported, "on " + runtime.GOOS + " use a heap in a file"}
	case errors.Is(err, fs.ErrNotExist):
		return &UnavailableError{ErrNoModule, err, "build and insert it, for example with shmheap kmod load"}
	case errors.Is(err, fs.ErrPermission):
		return &UnavailableError{ErrPermission, err, "ask for the group of the device, or run as root"}
	}
	return err
}

// meanings are what the module's answers mean to callers.
var meanings = []struct{ errno, meaning error }{
	{sys.EDQUOT, ErrQuota}, {sys.EBUSY, ErrBusy}, {sys.ENOTCONN, ErrNotConnected}, {sys.EMSGSIZE, ErrTooLong},
	{sys.EINVAL, ErrOptions}, {sys.ERANGE, ErrOptions}, {sys.EBADMSG, ErrCorrupt},
}

// wrap says what was done to what, and what the module's answer means. It returns nil for nil.
func wrap(action, name string, err error) error {
	if err == nil {
		return nil
	}
	for _, m := range meanings {
		if errors.Is(err, m.errno) {
			return fmt.Errorf("%s %q: %w: %w", action, name, m.meaning, err)
		}
	}
	return fmt.Errorf("%s %q: %w", action, name, err)
}
