package heap

import (
	"fmt"
	"os"
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
	PID      int       // in its own pid namespace
	UID      int       // its user
	Program  string    // base name of its executable
	Attached time.Time // since when
	Alive    bool      // what Heap.Alive says
}

// Peer returns the id of this attachment, 0 when the heap is open for reading alone.
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

// alive looks at the state once more when it finds the lock held: another process takes the lock when
// the slot is free, and it may have become so after the first look.
func (h *Heap) alive(id PeerID) (bool, error) {
	if uint64(id.Slot()) >= uint64(len(h.peers)) || id>>(layout.PeerGenBits+layout.PeerSlotBits) != 0 {
		return false, nil
	}
	state := &h.peers[id.Slot()].State
	if state.Load() != attachedState(id) {
		return false, nil
	}
	if id == h.peer && id != 0 {
		return true, nil
	}
	locked, err := h.locks().held(lockPeers + int64(id.Slot()))
	return locked && state.Load() == attachedState(id), err
}

func attachedState(id PeerID) uint64 {
	return uint64(id.Generation())<<layout.PeerStateBits | layout.PeerAttached
}

// attach takes a free slot: its byte lock first, and then the next generation. When there is none it
// frees those of dead peers, which may be done at once, because whatever a dead peer owns names its
// generation.
//
// Killed with the lock and before the store, nothing has changed. Killed behind the store, the slot
// belongs to a dead peer that owns nothing.
func (h *Heap) attach() error {
	got, err := h.takeFreeSlot()
	if err == nil && !got {
		if err = h.releaseDead(); err == nil {
			got, err = h.takeFreeSlot()
		}
	}
	if err == nil && !got {
		err = fmt.Errorf("%w: all %d slots are taken", ErrTooManyPeers, len(h.peers))
	}
	return err
}

// takeFreeSlot locks no slot whose state names a dead peer: as long as the lock was held, others would
// take that peer for alive again.
func (h *Heap) takeFreeSlot() (bool, error) {
	for slot := range h.peers {
		state, lock := &h.peers[slot].State, lockPeers+int64(slot)
		if isAttached(state.Load()) {
			continue
		}
		got, err := h.locks().tryRange(lock, 1)
		if err == nil && got && isAttached(state.Load()) { // somebody was quicker, and died
			got, err = false, h.locks().unlock(lock, 1)
		}
		if err != nil {
			return false, err
		}
		if got {
			h.takeSlot(uint16(slot))
			return true, nil
		}
	}
	return false, nil
}

func (h *Heap) takeSlot(slot uint16) {
	p := &h.peers[slot]
	crashpoint.Hit("heap.attach.after-lock")
	generation := max(uint32(p.State.Load()>>layout.PeerStateBits)+1, 1)
	h.peer = MakePeerID(slot, generation)
	p.State.StoreRelease(uint64(generation) << layout.PeerStateBits)
	p.PID, p.UID = uint32(os.Getpid()), uint32(os.Getuid())
	p.Quota.StoreRelease(0)
	p.Counts = layout.Counters{}
	p.Attached = time.Now().UnixNano()
	p.Program = [layout.ProgramSize]byte{}
	copy(p.Program[:len(p.Program)-1], sys.ProgramName())
	crashpoint.Hit("heap.attach.before-state")
	p.State.StoreRelease(attachedState(h.peer))
	crashpoint.Hit("heap.attach.after-state")
	h.mirror()
}

// detach frees the slot. The lock goes with the file description.
func (h *Heap) detach() {
	h.peers[h.peer.Slot()].State.StoreRelease(uint64(h.peer.Generation()) << layout.PeerStateBits)
	crashpoint.Hit("heap.detach.after-state")
	h.mirror()
}

// ReleaseDead frees the slots of dead peers, so that they are no longer listed. Package alloc calls it
// when it has recovered what they held; an id stays dead for ever, whether its slot is free or not.
func (h *Heap) ReleaseDead() error {
	if err := h.enterToWrite(); err != nil {
		return err
	}
	defer h.leave()
	return h.releaseDead()
}

// releaseDead needs no lock: only a dead peer's state stays what it is when nobody holds its lock, and
// who takes the slot meanwhile finds the same generation there.
func (h *Heap) releaseDead() error {
	for slot := range h.peers {
		w := &h.peers[slot].State
		state := w.Load()
		id := MakePeerID(uint16(slot), uint32(state>>layout.PeerStateBits))
		if state != attachedState(id) {
			continue
		}
		alive, err := h.alive(id)
		if err != nil {
			return err
		}
		if !alive {
			w.CompareAndSwap(state, state&^(1<<layout.PeerStateBits-1))
		}
	}
	return nil
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
