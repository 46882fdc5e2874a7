package probe

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Reservation is a range of addresses that belongs to its holder: nothing else in the process is given
// a place in it. Make one with Reserve or Find. It goes from reserved to mapped (Map) to released
// (Release), or from reserved straight to released; there is no way back.
//
// Any number of goroutines may call its methods at once.
type Reservation struct {
	span Range
	take way

	mu     sync.Mutex
	state  state
	guards []Range // those that could be taken; guardSet knows which are still held
}

type state int

const (
	reserved state = iota // no access, ours
	mapped                // the file
	released              // not ours any more
)

// Range returns the addresses, without the guards. It does not change when the reservation is
// released. That of a nil Reservation is empty.
func (r *Reservation) Range() Range {
	if r == nil {
		return Range{}
	}
	return r.span
}

// Map maps f, shared and from offset 0, over the whole reservation, for reading or for reading and
// writing. It stays mapped until Release; f may be closed. Access to a page beyond the end of f faults
// (SIGBUS).
//
// Errors: ErrMapped, ErrReleased, or the errno of the kernel (fs.ErrPermission where f was not opened
// for it). After an error the range is reserved as before and Map may be called again, unless the
// error wraps ErrReleased: the kernel may drop the reservation before it fails (man 2 mmap), and then
// another thread can get there first.
func (r *Reservation) Map(f *os.File, writable bool) (mem.Memory, error) {
	if r == nil || f == nil {
		return mem.Memory{}, fmt.Errorf("map: %w", os.ErrInvalid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.mappable(); err != nil {
		return mem.Memory{}, fmt.Errorf("map %q at %v: %w", f.Name(), r.span, err)
	}
	holes.Lock()
	defer holes.Unlock()
	p, err := sys.MapFile(f, r.span.Start, r.span.Size(), writable)
	if err != nil {
		return mem.Memory{}, fmt.Errorf("map %q at %v: %w", f.Name(), r.span, errors.Join(err, r.regain()))
	}
	r.state = mapped
	return mem.At(p, r.span.Size()), nil
}

func (r *Reservation) mappable() error {
	switch r.state {
	case mapped:
		return ErrMapped
	case released:
		return ErrReleased
	}
	return nil
}

// regain makes sure, after a mapping that failed, that the range is still reserved, or gives it up.
// What the kernel has removed is taken anew. What it has not removed is in our own way then, and shows
// as memory without access from end to end. So would a reservation that somebody outside this package
// made of the whole range in between; the two cannot be told apart.
func (r *Reservation) regain() error {
	err := claim(r.span, r.take)
	var taken *TakenError
	if err == nil || errors.As(err, &taken) && inaccessible(taken.Mappings, r.span) {
		return nil
	}
	guards.drop(r.guards)
	r.state = released
	return fmt.Errorf("%w: %w", ErrReleased, err)
}

// inaccessible reports whether the mappings, ascending, cover span without a gap and none of them can
// be accessed or belongs to a file.
func inaccessible(mappings []Mapping, span Range) bool {
	next := span.Start
	for _, m := range mappings {
		if m.Start > next || m.Perms != "---p" || m.Inode != 0 {
			return false
		}
		next = m.End
	}
	return next >= span.End
}

// Release gives the range back: first nothing can be accessed there any more, then it is free. No
// memory obtained from Map may be used afterwards. On nil and on a released reservation it does
// nothing. After an error the range is still ours and Release may be called again.
func (r *Reservation) Release() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == released {
		return nil
	}
	guards.drop(r.guards)
	if err := r.unmap(); err != nil {
		return fmt.Errorf("release %v: %w", r.span, err)
	}
	r.state = released
	return nil
}

// unmap does not go on after MapNone has failed: the kernel may have removed the mapping by then, and
// munmap would hit whoever came next.
func (r *Reservation) unmap() error {
	if r.state == mapped {
		if err := sys.MapNone(r.span.Start, r.span.Size()); err != nil {
			return err
		}
		r.state = reserved
	}
	return sys.Unmap(r.span.Start, r.span.Size())
}
