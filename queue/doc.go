// Package queue moves offsets into a heap, and the blocks that lie there, between processes: through
// bounded rings that no dead process can wedge.
//
//	Queue      ring of elements: one or many producers, one or many consumers
//	Hands      who is moving which block, so that none is lost or freed twice whoever dies
//	Broadcast  ring that one writer overwrites; readers are told what they lost
//	Mailbox    one request and its reply in one line of memory
//	Asker      requests and replies through queues, matched by number
//
// # How a ring survives
//
// Common rings reserve a slot and publish it in two steps, and a producer that is killed in between leaves a
// hole that everybody waits for. Here a slot is one word, and a push or a pop one store of it:
//
//	          push: CAS                      pop: CAS
//	empty, lap 7 -----> full, lap 7, element -----> empty, lap 8
//
// The lap, and not a shared index, says whose turn a slot is. Each handle keeps its place to itself and finds
// it again by looking at slots; the Tail and Head of the header are hints that save steps. So there is
// nothing to repair, and a process that is stopped blocks nobody. Where nobody else may do the same, the
// CAS is a plain store with release order. Positions are filled and emptied in order, and the order of
// elements is that of their positions.
//
// Laps count modulo 4096. A process that is stopped between its look at a slot and its CAS while exactly a
// multiple of 4096 laps goes by may push or pop in a later lap than it meant to; that changes the order of
// elements and nothing else.
//
// # Whose an element is
//
// A Producer or Consumer moves bare offsets: what it has popped is lost when it dies. A Hand has a record in
// the heap that says what it holds and what it is about to do, and Hands.Recover, in any surviving
// process, settles it: what the dead had made is freed, what it had received is delivered again, what it had
// sent is the queue's. The comment of Hand has the steps. One gap is package alloc's: a hand that is killed
// while it frees a block of another cache's may leak it.
//
// # Waiting
//
// Push and Pop spin for a moment and then sleep on a word that both sides share (futex on Linux, ulock on
// macOS, naps elsewhere: Info says which). Nobody makes a system call for a sleeper that is not there,
// and as long as no one has ever slept no one even looks. Which orders make that right:
//
//	sleeper: Seq = load; Need = 1 (full barrier); look at the slot; sleep while Seq is the same
//	waker:   change the slot (full barrier); if Need: Need = 0, Seq + 1, wake one
//
// A sleep ends after half a second at most: then the sleeper looks whether the other side is alive,
// ErrNoProducers or ErrNoConsumers if all of it has died, and sleeps on. That also bounds what a waker that is
// killed between its change and its wake costs, and the one race that is left: the very first sleep of a
// queue may miss an element, or a few lines of a batch, that a single producer pushes at that instant, for a
// millisecond unless the producer is stopped in between.
//
// # Trust
//
// Words that others write are checked on use. An element that is no offset into the heap is dropped and
// counted; hints, positions and records are followed as far as slots bear them out; every operation looks at
// a bounded number of slots. A hostile peer can make a queue look full or empty and lose elements, and
// cannot make another process hang, panic or leave the heap.
//
// # Concurrency
//
// Queue, Hands, Broadcast and Mailbox may be used by any number of goroutines, handles and hands by one at a
// time. There are no locks but Hands.Recover's, which is held by one process at a time and waited for by
// none. Heap.Close ends the waits of its own process and closes its handles and hands: ErrDetached. Other
// calls must have returned before.
//
// The idea of a word that is claim and publish in one is used, with an index beside it, by many bounded
// queues after Dmitry Vyukov's; that a stalled CAS must leave evidence for recovery is from Attiya,
// Ben-Baruch and Hendler, "Nesting-Safe Recoverable Linearizability" (PODC 2018).
package queue
