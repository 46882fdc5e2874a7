package lock

import "github.com/shmheap/shmheap/heap"

// KernelPeer is the kernel as the owner of a Mutex that it shares with processes (kmod/include/shmheap_mutex.h).
// No process of a heap has this id, unless 65536 of them are attached to it.
const KernelPeer heap.PeerID = 1<<48 - 1

// WithKernel returns peers like p among whom is the kernel, which lives. Processes that share a lock with a
// kernel module use it in place of p.
func WithKernel(p Peers) Peers { return withKernel{p} }

type withKernel struct{ Peers }

// Alive implements Peers.
func (p withKernel) Alive(id heap.PeerID) (bool, error) {
	if id == KernelPeer {
		return true, nil
	}
	return p.Peers.Alive(id)
}
