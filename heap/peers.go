package heap

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// PeerID names one attachment of one process, for ever: a slot and the slot's generation. 0 is nobody.
type PeerID uint64

// MakePeerID puts an id together.
func MakePeerID(slot uint16, generation uint32) PeerID {
	return PeerID(slot)<<layout.PeerGenBits | PeerID(generation)
}

// Slot returns the index of the peer's slot.
func (id PeerID) Slot() uint16 { return uint16(id >> layout.PeerGenBits) }

// Generation returns how many peers the slot has had, this one included.
func (id PeerID) Generation() uint32 { return uint32(id) }

// String returns slot and generation as people read them.
func (id PeerID) String() string { return fmt.Sprintf("%d.%d", id.Slot(), id.Generation()) }

// Peer describes an attached process. All but ID and Alive is what the process said of itself.
type Peer struct {
	ID       PeerID
	PID      int
	UID      int
	Program  string
	Attached time.Time
	Alive    bool
}

// Peer returns the id of this attachment.
func (h *Heap) Peer() PeerID { return h.peer }

// Alive reports whether the peer is still attached. A process that died, or detached, is not; one that
// is stopped is. The answer "no" is final.
func (h *Heap) Alive(id PeerID) (bool, error) {
	if err := h.enter(); err != nil {
		return false, err
	}
	defer h.leave()
	return h.alive(id)
}

func (h *Heap) alive(id PeerID) (bool, error) {
	if uint64(id.Slot()) >= uint64(len(h.peers)) || id>>(layout.PeerGenBits+layout.PeerSlotBits) != 0 {
		return false, nil
	}
	if h.peers[id.Slot()].State.Load() != attachedState(id) {
		return false, nil
	}
	if id == h.peer {
		return true, nil
	}
	return sys.Locked(h.file, lockPeers+int64(id.Slot()), 1)
}

func attachedState(id PeerID) uint64 {
	return uint64(id.Generation())<<layout.PeerStateBits | layout.PeerAttached
}

// attach takes a slot: its byte lock first, and then the next generation. A slot whose peer died may
// be taken at once, because whatever the dead peer owns names its generation.
//
// Killed with the lock and before the store, nothing has changed. Killed behind the store, the slot
// belongs to a dead peer that owns nothing.
func (h *Heap) attach() error {
	for _, dead := range []bool{false, true} {
		for slot := range h.peers {
			if isAttached(h.peers[slot].State.Load()) != dead {
				continue
			}
			got, err := sys.TryLock(h.file, lockPeers+int64(slot))
			if err != nil {
				return err
			}
			if got {
				h.takeSlot(uint16(slot))
				return nil
			}
		}
	}
	return fmt.Errorf("%w: all %d slots are taken", ErrTooManyPeers, len(h.peers))
}

func (h *Heap) takeSlot(slot uint16) {
	p := &h.peers[slot]
	crashpoint.Hit("heap.attach.after-lock")
	generation := max(uint32(p.State.Load()>>layout.PeerStateBits)+1, 1)
	h.peer = MakePeerID(slot, generation)
	p.State.StoreRelease(uint64(generation) << layout.PeerStateBits)
	p.PID, p.UID = uint32(os.Getpid()), uint32(os.Getuid())
	p.Attached = time.Now().UnixNano()
	p.Program = [layout.ProgramSize]byte{}
	copy(p.Program[:len(p.Program)-1], filepath.Base(os.Args[0]))
	crashpoint.Hit("heap.attach.before-state")
	p.State.StoreRelease(attachedState(h.peer))
	crashpoint.Hit("heap.attach.after-state")
}

// detach frees the slot. The lock goes with the file description.
func (h *Heap) detach() {
	h.peers[h.peer.Slot()].State.StoreRelease(uint64(h.peer.Generation()) << layout.PeerStateBits)
	crashpoint.Hit("heap.detach.after-state")
}

// ReleaseDead frees the slots of dead peers, so that they are no longer listed. Package alloc calls it
// when it has recovered what they held; an id stays dead for ever, whether its slot is free or not.
func (h *Heap) ReleaseDead() error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	for slot := range h.peers {
		state := &h.peers[slot].State
		if slot == int(h.peer.Slot()) || !isAttached(state.Load()) {
			continue
		}
		if err := h.releaseSlot(lockPeers+int64(slot), state); err != nil {
			return err
		}
	}
	return nil
}

// releaseSlot frees a slot if nobody holds its lock. The state is read again under the lock: a new peer
// may have come and gone.
func (h *Heap) releaseSlot(lock int64, state *mem.Word) error {
	h.slots.Lock() // one description does not exclude itself
	defer h.slots.Unlock()
	dead, err := sys.TryLock(h.file, lock)
	if err != nil || !dead {
		return err
	}
	if s := state.Load(); isAttached(s) {
		state.StoreRelease(s &^ (1<<layout.PeerStateBits - 1))
	}
	return sys.Unlock(h.file, lock)
}

func isAttached(state uint64) bool { return state&(1<<layout.PeerStateBits-1) == layout.PeerAttached }

// Peers returns the attached processes, and those that died without another taking their slot.
func (h *Heap) Peers() ([]Peer, error) {
	if err := h.enter(); err != nil {
		return nil, err
	}
	defer h.leave()
	return listPeers(h.peers, h.alive)
}

func listPeers(slots []layout.Peer, alive func(PeerID) (bool, error)) (peers []Peer, err error) {
	for slot := range slots {
		p := &slots[slot]
		state := p.State.Load()
		if !isAttached(state) {
			continue
		}
		q := describePeer(p, MakePeerID(uint16(slot), uint32(state>>layout.PeerStateBits)))
		if q.Alive, err = alive(q.ID); err != nil {
			return nil, err
		}
		peers = append(peers, q)
	}
	return peers, nil
}

func describePeer(p *layout.Peer, id PeerID) Peer {
	program, _ := cutName(p.Program[:])
	return Peer{
		ID: id, PID: int(p.PID), UID: int(p.UID), Program: program, Attached: time.Unix(0, p.Attached),
	}
}

// peerTable is the table of peers, in the mapping or in a copy of it.
func peerTable(m mem.Memory, g *geometry) []layout.Peer {
	return mem.Slice[layout.Peer](m, g.Sections.Peers, uint64(g.MaxPeers))
}
