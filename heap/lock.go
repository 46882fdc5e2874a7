package heap

import (
	"fmt"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// Byte locks of the file, far behind its end. The kernel drops them when their holder dies.
const (
	lockPeers  = 1 << 62                     // one byte for each slot: held while the peer is attached
	lockRoots  = lockPeers + layout.MaxPeers // held while roots are made or deleted
	lockGrowth = lockRoots + 1               // held while storage is made by writing
	lockCreate = lockRoots + 2               // held by the creator of a file that has no name yet
	lockAlone  = lockRoots + 3               // held by the peer that keeps others from attaching
	lockReader = lockRoots + 4               // shared by those who read alone, held by the peer that keeps them out
)

// lockPatience is how long a short lock of another process is waited for. Its holder does a few
// stores under it, so a longer wait means that it was stopped.
const lockPatience = 5 * time.Second

// lockByte takes the process's own mutex, because a file description does not exclude itself, and
// then the byte lock. It returns ErrBusy when another process holds on to the lock.
func (h *Heap) lockByte(mu *sync.Mutex, off int64) (unlock func(), err error) {
	mu.Lock()
	deadline := time.Now().Add(lockPatience)
	for pause := 10 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		got, err := h.locks().tryRange(off, 1)
		if got {
			return func() { h.locks().unlock(off, 1); mu.Unlock() }, nil
		}
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("%w: another process holds a lock for over %v", ErrBusy, lockPatience)
		}
		if err != nil {
			mu.Unlock()
			return nil, err
		}
		time.Sleep(pause)
	}
}
