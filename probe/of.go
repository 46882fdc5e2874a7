package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/shmheap/shmheap/internal/sys"
)

// Reasons why the mappings of another process cannot be had.
var (
	// ErrNoProcess: there is no process with this id, or it has ended, or it is a thread of the kernel:
	// it has no mappings.
	ErrNoProcess = errors.New("no such process")
	// ErrDenied: the process exists, and the kernel does not show its mappings to this one.
	ErrDenied = errors.New("not permitted to see the mappings of the process")
	// ErrHidden: the process exists, and /proc does not show it (mount option hidepid), or there is no
	// /proc at all.
	ErrHidden = errors.New("/proc does not show the process")
)

// Of returns the mappings of the process pid, ascending, without what lies in the kernel's half of the
// addresses. It is no snapshot and no promise: the process may map something else a moment later.
//
// Errors: ErrNoProcess, ErrDenied, ErrHidden; errors.ErrUnsupported on a system other than Linux and macOS. Any
// number of goroutines may call it at once.
func Of(pid int) ([]Mapping, error) {
	if pid <= 0 || pid > math.MaxInt32 {
		return nil, fmt.Errorf("mappings of process %d: %w", pid, ErrNoProcess)
	}
	mappings, err := collect(pid)
	switch {
	case err != nil:
		return nil, fmt.Errorf("mappings of process %d: %w", pid, whyUnseen(pid, err))
	case len(mappings) == 0:
		return nil, fmt.Errorf("mappings of process %d: %w: it has ended, or is a thread of the kernel", pid, ErrNoProcess)
	}
	return mappings, nil
}

func collect(pid int) ([]Mapping, error) {
	var all []Mapping
	err := sys.EachMappingOf(pid, func(m sys.Mapping) error {
		if m.End <= 1<<63 { // not the vsyscall page
			all = append(all, mapping(m))
		}
		return nil
	})
	return all, err
}

// whyUnseen turns an error of the system into a reason. A process that /proc lacks although a signal
// could be sent to it is hidden.
func whyUnseen(pid int, err error) error {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return err
	case !sys.ProcessExists(pid):
		return ErrNoProcess
	case sys.IsGone(err):
		return ErrHidden
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}
