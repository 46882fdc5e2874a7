package probe

import (
	"errors"
	"fmt"
)

// Reasons why a range could not be reserved. The error of Reserve wraps one of them, or the errno of
// the kernel where it is none of these (such as EPERM below vm.mmap_min_addr).
var (
	// ErrTaken: something is mapped in the range. The error is a *TakenError.
	ErrTaken = errors.New("range is taken")
	// ErrRefused: nothing that can be seen is mapped in the range, yet the kernel placed the reservation
	// elsewhere.
	ErrRefused = errors.New("range is free but the kernel refuses it")
	// ErrBeyond: the range ends beyond the addresses that this process has.
	ErrBeyond = errors.New("range ends beyond the address space")
	// ErrAddressLimit: RLIMIT_AS (ulimit -v) leaves too little address space.
	ErrAddressLimit = errors.New("address space limit (RLIMIT_AS)")
	// ErrMapCount: the process has as many mappings as vm.max_map_count allows.
	ErrMapCount = errors.New("too many mappings (vm.max_map_count)")
	// ErrNoMemory: the kernel lacks memory, for a reason that is none of the above.
	ErrNoMemory = errors.New("out of memory")
	// ErrUnaligned: base or size is zero or no multiple of Guard.
	ErrUnaligned = errors.New("base and size must be positive multiples of 64 KiB")
	// ErrNarrow: this machine has no addresses above those that the kernel gives out unasked.
	ErrNarrow = errors.New("no addresses above the default ones")
	// ErrNoWindow: Find has no candidate left.
	ErrNoWindow = errors.New("no window has room")
)

// Misuse of a Reservation.
var (
	// ErrMapped: a file is mapped over the reservation already.
	ErrMapped = errors.New("already mapped")
	// ErrReleased: the reservation was released, or lost by a Map that failed.
	ErrReleased = errors.New("reservation released")
)

// TakenError tells what is in the way of a reservation. errors.Is(err, ErrTaken) holds for it.
type TakenError struct {
	Range    Range     // that was asked for
	Mappings []Mapping // that overlap it, whole, ascending; empty when they were gone again or unreadable
	Classes  []Class   // of Mappings, one each; empty where nobody looked
}

// Error names the range, the first mapping in the way with its class, and the number of the others.
func (e *TakenError) Error() string {
	if len(e.Mappings) == 0 {
		return fmt.Sprintf("reserve %v: taken by a mapping that could not be found afterwards", e.Range)
	}
	text := fmt.Sprintf("reserve %v: taken by %v", e.Range, e.Mappings[0])
	if len(e.Classes) > 0 {
		text += fmt.Sprintf(", %v", e.Classes[0])
	}
	if more := len(e.Mappings) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Unwrap returns ErrTaken.
func (e *TakenError) Unwrap() error { return ErrTaken }
