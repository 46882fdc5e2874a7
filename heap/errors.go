package heap

import (
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/internal/sys"
)

// Errors of this package, to be tested with errors.Is. A base that cannot be had is reported with the
// errors of package probe.
var (
	ErrExist        = errors.New("heap already exists")
	ErrNotExist     = errors.New("no such heap")
	ErrOpen         = errors.New("heap is already open in this process")
	ErrInUse        = errors.New("heap is in use")
	ErrPermission   = errors.New("heap belongs to another user")
	ErrInsecure     = errors.New("not private")
	ErrCorrupt      = errors.New("heap is damaged")
	ErrVersion      = errors.New("heap has another format version")
	ErrNotReady     = errors.New("heap is not complete")
	ErrNoSpace      = errors.New("no space left for the heap")
	ErrLimit        = errors.New("limit of the heap")
	ErrClosed       = errors.New("heap is closed")
	ErrBusy         = errors.New("heap is busy")
	ErrName         = errors.New("invalid name")
	ErrSize         = errors.New("invalid size")
	ErrNotAlone     = errors.New("other processes are attached")
	ErrTooManyPeers = errors.New("too many peers")
	ErrNoRoot       = errors.New("no such root")
	ErrRootType     = errors.New("root has another type")
	ErrTooManyRoots = errors.New("too many roots")
	ErrOffset       = errors.New("offset outside the data of the heap")
	ErrReadOnly     = errors.New("heap is open for reading alone")
	ErrGroup        = errors.New("cannot be shared with the group")
	ErrNoDirectory  = errors.New("no such directory")
)

// wrapOS gives an operating-system error the sentinel that callers test for.
func wrapOS(err error) error {
	switch {
	case err == nil:
		return nil
	case sys.IsNoSpace(err):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case sys.IsSymlink(err):
		return fmt.Errorf("%w: symlink: %w", ErrInsecure, err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrNotExist, err)
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%w: %w", ErrExist, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}
