package lock

import "errors"

// Errors of this package, to be tested with errors.Is.
var (
	// ErrOwnerDied says that the lock is held now, by the caller, and that who held it before died with
	// it: what it protects may be half changed. See Mutex.MarkConsistent.
	ErrOwnerDied = errors.New("the owner of the lock has died")
	// ErrNotRecoverable says that the lock was given back without MarkConsistent after ErrOwnerDied.
	ErrNotRecoverable = errors.New("what the lock protects was left inconsistent")
	ErrNotOwner       = errors.New("the lock is not held by this process")
	ErrLocked         = errors.New("the lock is held")
	ErrTooMany        = errors.New("too many holders")
	ErrCorrupt        = errors.New("the lock is damaged")
	// ErrNotCacheable says that atomic instructions may not work on the memory.
	ErrNotCacheable = errors.New("not normal cacheable memory")
	// ErrUnknown says that the system does not tell what kind of memory it is.
	ErrUnknown = errors.New("kind of memory unknown")
)
