package heap

import (
	"os"

	"github.com/shmheap/shmheap/internal/sys"
)

// locks are what tells who is alive, and who has something for itself: byte locks of the heap's file, or leases where
// machines share memory that has no file in common. Offsets are those of the byte locks.
type locks interface {
	// tryRange takes the n locks at off, all or none, and reports whether it could. Those that it has count as taken.
	tryRange(off, n int64) (bool, error)
	// tryShared takes a lock together with others that do the same.
	tryShared(off int64) (bool, error)
	unlock(off, n int64) error
	// held reports whether somebody else has a lock, not a shared one.
	held(off int64) (bool, error)
}

// locks returns what this heap has.
func (h *Heap) locks() locks {
	if h.leases != nil {
		return h.leases
	}
	return fileLocks{h.file}
}

// fileLocks are the byte locks of a file. The kernel drops them when their holder dies.
type fileLocks struct{ f *os.File }

func (l fileLocks) tryRange(off, n int64) (bool, error) { return sys.TryLockRange(l.f, off, n) }
func (l fileLocks) tryShared(off int64) (bool, error)   { return sys.TryLockShared(l.f, off) }
func (l fileLocks) unlock(off, n int64) error           { return sys.UnlockRange(l.f, off, n) }
func (l fileLocks) held(off int64) (bool, error)        { return sys.Locked(l.f, off, 1) }
