package lock

import (
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// Peers tells who this process is and who is alive. A *heap.Heap is one; the locks must lie in that heap,
// or in other memory that the same processes share.
type Peers interface {
	// Peer returns the id of this process; 0 is one that may only read, and takes no lock.
	Peer() heap.PeerID
	// Alive reports whether the peer lives. The answer "no" is final.
	Alive(heap.PeerID) (bool, error)
}

// A word that somebody owns holds the peer in its low 48 bits, and what the type of lock adds above.
const peerMask = 1<<48 - 1

// ownerOf returns the peer in a word. A generation is never 0, so no owner is 0 either.
func ownerOf(w uint64) heap.PeerID { return heap.PeerID(w & peerMask) }

// dead reports whether the word has an owner that has died.
func dead(p Peers, w uint64) (bool, error) {
	if w&peerMask == 0 || ownerOf(w) == p.Peer() {
		return false, nil
	}
	alive, err := p.Alive(ownerOf(w))
	return err == nil && !alive, err
}

// writer returns the caller's word, or heap.ErrReadOnly for one that is no peer, as it has the heap open for
// reading alone.
func writer(p Peers) (uint64, error) {
	id := p.Peer()
	if id == 0 {
		return 0, heap.ErrReadOnly
	}
	return uint64(id), nil
}

// holders is a table of those who hold something together: a word each, 0 when it is free.
type holders []mem.Word

// take puts own into a free word, or into that of a dead holder if recover says so, and returns which.
func (h holders) take(p Peers, own uint64, recover bool) (int, error) {
	for i := range h {
		w := h[i].Load()
		if w != 0 {
			gone, err := recoverable(p, w, recover)
			if err != nil {
				return 0, err
			}
			if !gone {
				continue
			}
		}
		if h[i].CompareAndSwap(w, own) {
			crashpoint.Hit("lock.holders.after-take")
			return i, nil
		}
	}
	return -1, nil
}

func recoverable(p Peers, w uint64, recover bool) (bool, error) {
	if !recover {
		return false, nil
	}
	return dead(p, w)
}

// drop clears one word that is own.
func (h holders) drop(own uint64) bool {
	for i := range h {
		if h[i].Load() == own && h[i].CompareAndSwap(own, 0) {
			crashpoint.Hit("lock.holders.after-drop")
			return true
		}
	}
	return false
}
