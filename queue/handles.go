package queue

import (
	"fmt"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// handle is an entry of the table of handles that this process has taken.
type handle struct {
	entry *mem.Word
	owner uint64
}

func handleOwner(role Role, p heap.PeerID) uint64 {
	return uint64(role+1) | uint64(p.Slot())<<handleSlotShift | uint64(p.Generation())<<handleGenShift
}

func handlePeer(owner uint64) heap.PeerID {
	return heap.MakePeerID(uint16(owner>>handleSlotShift), uint32(owner>>handleGenShift))
}

// handleRole returns the role of an entry, and false for one that is free or nonsense.
func handleRole(owner uint64) (Role, bool) {
	role := Role(owner&0xff) - 1
	return role, role == ProducerRole || role == ConsumerRole
}

// attach takes an entry of the table. The only producer and the only consumer of a queue have an entry
// each, the first and the second, so that two of them cannot both find one.
func (q *Queue) attach(role Role, single bool) (handle, error) {
	if err := mayWrite(q.region); err != nil {
		return handle{}, err
	}
	own := handleOwner(role, q.region.Peer())
	if single {
		got, err := q.take(int(role), own)
		if err == nil && !got {
			err = ErrTaken
		}
		return handle{&q.table[role], own}, err
	}
	for i := q.reserved(); i < len(q.table); i++ {
		got, err := q.take(i, own)
		if got || err != nil {
			return handle{&q.table[i], own}, err
		}
	}
	return handle{}, fmt.Errorf("%w: all %d are taken", ErrTooMany, len(q.table)-q.reserved())
}

// reserved is how many entries belong to the only one of a role.
func (q *Queue) reserved() int {
	if q.kind == MPMC {
		return 0
	}
	return 2
}

// take takes an entry that is free or a dead peer's. Killed behind it, the entry is a dead peer's.
func (q *Queue) take(i int, own uint64) (bool, error) {
	old := q.table[i].Load()
	alive, err := handleAlive(q.region, old)
	if err != nil || alive {
		return false, err
	}
	if old != 0 {
		q.bury(i, old)
		old = 0
	}
	if !q.table[i].CompareAndSwap(old, own) {
		return false, nil
	}
	crashpoint.Hit("queue.attach.after-take")
	role, _ := handleRole(own)
	q.mourn(role)
	return true, nil
}

// mourn says that somebody of the role has come since all deaths so far. Who is counting one meanwhile may not see it
// before Mourned: see bury. The bound is for peers that write nonsense.
func (q *Queue) mourn(role Role) {
	for range MaxHandles {
		deaths := q.head.Deaths[role].Load()
		if q.head.Mourned[role].Swap(deaths); q.head.Deaths[role].Load() == deaths {
			break
		}
	}
}

// handleAlive reports whether the peer of an entry lives. A free entry has none, and nonsense is nobody's.
func handleAlive(r region, owner uint64) (bool, error) {
	if _, ok := handleRole(owner); !ok {
		return false, nil
	}
	return r.Alive(handlePeer(owner))
}

// bury counts a dead peer's handle and frees its entry. Killed in between, or done by two at once, the dead is counted
// twice, which changes nothing as long as nobody has come since the first time. So who finds that somebody else has freed
// the entry, having counted first, says that this death has been mourned if all others have.
func (q *Queue) bury(i int, owner uint64) {
	role, ok := handleRole(owner)
	if !ok {
		q.table[i].CompareAndSwap(owner, 0)
		return
	}
	deaths := q.head.Deaths[role].Add(1)
	crashpoint.Hit("queue.bury.after-count")
	if !q.table[i].CompareAndSwap(owner, 0) {
		q.head.Mourned[role].CompareAndSwap(deaths-1, deaths)
	}
}

// detach frees an entry.
func (q *Queue) detach(h handle) { h.entry.CompareAndSwap(h.owner, 0) }

// bereft reports whether somebody of the role has died since the last one attached, and none lives.
func (q *Queue) bereft(role Role) (bool, error) {
	for i := range q.table {
		owner := q.table[i].Load()
		if r, ok := handleRole(owner); !ok || r != role {
			continue
		}
		alive, err := q.region.Alive(handlePeer(owner))
		if err != nil || alive {
			return false, err
		}
		q.bury(i, owner)
	}
	return q.head.Deaths[role].Load() != q.head.Mourned[role].Load(), nil
}

// Attached returns the peers that have handles of the role, dead ones included until somebody notices.
func (q *Queue) Attached(role Role) (peers []heap.PeerID) {
	for i := range q.table {
		owner := q.table[i].Load()
		if r, ok := handleRole(owner); ok && r == role {
			peers = append(peers, handlePeer(owner))
		}
	}
	return peers
}
