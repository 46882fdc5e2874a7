// Package lock has locks in memory that processes share, which survive whoever holds them.
//
//	Mutex, RWMutex, Cond, Semaphore, Once, Barrier    zero values, to be fields of structs in a heap
//	Guard                                             a device's register under a Mutex
//	CheckAtomics                                      whether a lock may lie in some memory at all
//
// # Holders
//
// A holder is a process, named by its heap.PeerID: the methods take a Peers, which a *heap.Heap is. Whether
// it lives is known from the kernel, not from a clock. So a holder that dies is followed by the next one,
// which is told so by ErrOwnerDied and repairs what the lock protects; a holder that is stopped keeps what
// it holds, for however long. Every lock is one word that changes by compare-and-swap, or a table of such
// words, one for each holder: killed between any two instructions a process holds a lock or does not.
//
//	free --Lock--> held --Unlock--> free
//	                | owner dies
//	                v
//	        held, ErrOwnerDied --MarkConsistent, Unlock--> free
//	                |
//	                +--Unlock--> ErrNotRecoverable for everybody
//
// # Waiting
//
// Waiters spin for some microseconds and then sleep on a word that the processes share, with a context. An
// unlock makes no system call when nobody sleeps. A sleep lasts half a second at most; then the waiter
// looks whether the holder lives. So a death is noticed within a millisecond by who has just begun to
// wait, and within half a second by who has waited long. When this process closes the heap,
// its waits end with heap.ErrClosed before that.
//
// # Order
//
// Locks of this package come behind all locks of the process itself, and behind each other in whatever
// order their users choose. Nothing is called with a lock held but what is passed to Once.Do and
// Guard.Update.
//
// # What it is not
//
// Not recursive. Not for goroutines of one process: sync has better ones; a process that holds a Mutex
// excludes its own goroutines too, but Unlock cannot tell them apart. No defence against a process that
// writes nonsense into a lock's words: that gives errors or waits, and no wild access.
package lock
