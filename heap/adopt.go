package heap

import (
	"errors"
	"fmt"

	"github.com/shmheap/shmheap/internal/launch"
	"github.com/shmheap/shmheap/probe"
)

// claim takes the range, or takes it over when it was reserved before the program began.
func claim(base, size uint64) (*probe.Reservation, error) {
	r, err := probe.Reserve(base, size)
	if !errors.Is(err, probe.ErrTaken) {
		return r, err
	}
	adopted, adoptErr := probe.Adopt(base, size)
	switch {
	case adoptErr == nil:
		return adopted, nil
	case errors.Is(adoptErr, probe.ErrNotReserved):
		return nil, err
	}
	return nil, errors.Join(err, adoptErr)
}

// startAgain starts the program again when err says that the base is taken and that is allowed. It
// returns err when it does not.
func startAgain(err error, o *Options) error {
	taken, ok := errors.AsType[*probe.TakenError](err)
	if !ok {
		return err
	}
	switch why := launch.Again(taken, o.StartAgain); {
	case errors.Is(why, launch.ErrNotAllowed):
		return err
	default:
		return fmt.Errorf("%w; %w", err, why)
	}
}
