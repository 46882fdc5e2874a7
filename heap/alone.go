package heap

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// Alone keeps other processes from attaching until release is called, for work that needs the heap to itself. It holds
// the locks of all slots, which nobody can have who attaches; the kernel drops them when the process dies.
// Open and OpenFile meanwhile return ErrBusy, and Remove ErrInUse.
//
// It returns ErrNotAlone, naming them, when others are attached, and ErrBusy when somebody in this process is
// alone already. Children of fork share this peer and are not seen.
func (h *Heap) Alone() (release func(), err error) {
	if err := h.enterToWrite(); err != nil {
		return nil, err
	}
	defer h.leave()
	if !h.alone.TryLock() {
		return nil, fmt.Errorf("%w: this process has it to itself already", ErrBusy)
	}
	if err := h.lockSlots(); err != nil {
		h.alone.Unlock()
		return nil, err
	}
	return sync.OnceFunc(func() {
		if h.enter() == nil {
			h.unlockSlots()
			h.leave()
		}
		h.alone.Unlock()
	}), nil
}

// aloneTries bounds how often the locks are tried for. Another process holds one for a moment when it looks for a
// free slot.
const aloneTries = 50

// lockSlots takes the locks of all slots. They are this description's like that of the peer's own slot, which stays.
func (h *Heap) lockSlots() error {
	if got, err := h.locks().tryRange(lockAlone, 1); err != nil || !got {
		return errors.Join(err, h.notAlone())
	}
	for range aloneTries {
		got, err := h.locks().tryRange(lockPeers, layout.MaxPeers)
		if got && err == nil {
			if got, err = h.locks().tryRange(lockReader, 1); got {
				return nil
			}
			h.unlockPeers()
		}
		if err != nil {
			return errors.Join(err, h.locks().unlock(lockAlone, 1))
		}
		time.Sleep(time.Millisecond)
	}
	return errors.Join(h.notAlone(), h.locks().unlock(lockAlone, 1))
}

func (h *Heap) unlockSlots() {
	h.locks().unlock(lockReader, 1)
	h.unlockPeers()
	h.locks().unlock(lockAlone, 1)
}

func (h *Heap) unlockPeers() {
	own := int64(h.peer.Slot())
	if own > 0 {
		h.locks().unlock(lockPeers, own)
	}
	if rest := layout.MaxPeers - own - 1; rest > 0 {
		h.locks().unlock(lockPeers+own+1, rest)
	}
}

// notAlone names who else is attached.
func (h *Heap) notAlone() error {
	peers, err := listPeers(h.peers, h.alive)
	var others []string
	for _, p := range peers {
		if p.Alive && p.ID != h.peer {
			others = append(others, fmt.Sprintf("%s with pid %d", p.Program, p.PID))
		}
	}
	if got, e := h.locks().tryRange(lockReader, 1); e == nil && !got {
		others = append(others, "processes that read alone")
	} else if got {
		h.locks().unlock(lockReader, 1)
	}
	if len(others) == 0 {
		return errors.Join(fmt.Errorf("%w: somebody is just attaching or detaching", ErrNotAlone), err)
	}
	return fmt.Errorf("%w: %s", ErrNotAlone, strings.Join(others, ", "))
}

// attachUnlessAlone is attach that says why there is no slot, when somebody has them all.
func (h *Heap) attachUnlessAlone() error {
	err := h.attach()
	if !errors.Is(err, ErrTooManyPeers) {
		return err
	}
	if locked, e := h.locks().held(lockAlone); e != nil || !locked {
		return err
	}
	return fmt.Errorf("%w: another process has it to itself", ErrBusy)
}
