//go:build (amd64 || arm64) && !crashpoint && !shmheap_portable

package crash

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/lock"
)

// operation is what a process is killed in. To add one is to add a line to the table: how the scene is
// made, and what is done.
type operation struct {
	name string
	size uint64 // of the blocks that it is about

	heapSize uint64 // 0 for the smallest
	prepare  step   // by the host, a peer that lives
	has      has    // what the process has when it begins
	ready    step   // by the process itself
	victim   step   // by a process that dies then
	operate  step

	// What is different afterwards: blocks, slabs and large blocks, caches, and arenas in use.
	live, spans, caches, arenas int
	mayLeak                     int // blocks and arenas, when killed in the middle

	long  bool // too many instructions for every day
	skim  bool // begins with many instructions before it touches the heap
	alone bool // the host is gone when it begins
	lock  bool // is about a lock: recovery of the heap has no part in it
}

// has is what a process has opened.
type has int

const (
	hasCaches has = iota // everything
	hasAllocator
	hasHeap
	hasNothing
)

// Operations of the table: with the process's cache and the slot of the subject.

func allocates(p *party) (err error) {
	p.ledger.slots[subject].block, err = p.cache.Alloc(p.size)
	return err
}

func allocatesZeroed(p *party) (err error) {
	p.ledger.slots[subject].block, err = p.cache.AllocZeroed(p.size)
	return err
}

func allocatesHeapWide(p *party) (err error) {
	p.ledger.slots[subject].block, err = p.alloc.Alloc(p.size)
	return err
}

func allocatesInto(p *party) error { return p.cache.AllocInto(&p.ledger.slots[subject].block, p.size) }

// frees returns the free of a slot: the pointer is taken away first.
func frees(slot int) step {
	return func(p *party) error { return p.cache.Free(p.takeAway(slot)) }
}

func freesHeapWide(slot int) step {
	return func(p *party) error { return p.alloc.Free(p.takeAway(slot)) }
}

func freesFrom(slot int) step {
	return func(p *party) error { return p.drop(p.cache, slot) }
}

// keepsPrivate allocates a block that dies with the process: nothing in the heap leads to it.
func keepsPrivate(p *party) (err error) {
	*p.kept, err = p.cache.AllocPrivate(p.size)
	return err
}

// publishes makes it live on, and reachable.
func publishes(p *party) error {
	err := p.cache.Publish(*p.kept)
	p.ledger.slots[subject].block = *p.kept
	return err
}

func freesKept(p *party) error { return p.cache.Free(*p.kept) }

func (p *party) takeAway(slot int) unsafe.Pointer {
	s := &p.ledger.slots[slot]
	b := s.block
	s.block, s.stamp = nil, 0
	return b
}

func makesCache(p *party) (err error) {
	_, err = p.alloc.NewCache()
	return err
}

func closesCache(p *party) error { return p.cache.Close() }

func trims(p *party) error {
	n, err := p.alloc.Trim()
	if err == nil && n == 0 {
		err = errors.New("nothing was trimmed")
	}
	return err
}

func recovers(p *party) error {
	r, err := p.alloc.Recover()
	if err == nil && r.Caches == 0 {
		err = errors.New("nothing was recovered")
	}
	return err
}

func attaches(p *party) (err error) {
	p.heap, err = heap.Open(p.path, nil)
	return err
}

func detaches(p *party) error { return p.heap.Close() }

func opensAllocator(p *party) (err error) {
	p.alloc, err = alloc.Open(p.heap)
	return err
}

func closesAllocator(p *party) error { return p.alloc.Close() }

func storesRoot(p *party) error { return alloc.StoreRoot(p.alloc, "another", p.ledger) }

func deletesRoot(p *party) error { return p.heap.DeleteRoot("another") }

// holds leaves a bit of everything behind: full, half full and empty slabs, some of several granules.
func holds(first int) step {
	return func(p *party) error {
		for i, size := range []uint64{16, 64, 1024, 1024, 32768, 100_000} {
			if err := p.putSize(p.cache, first+i, size); err != nil {
				return err
			}
		}
		return errors.Join(p.drop(p.other, first), p.drop(p.cache, first+1))
	}
}

// fullSlab is how many blocks of 1024 bytes a slab has.
const fullSlab = 64

// operations is the table.
var operations = []operation{
	{name: "Alloc", size: 64, ready: puts(mine, 1), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, next word", size: 512, ready: puts(mine, 64), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, collects", size: 1024, ready: steps(puts(mine, fullSlab), dropsOther(mine, 8)), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, another slab", size: 1024, ready: steps(puts(mine, 2*fullSlab), drops(mine, 8)), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, drops an empty slab", size: 1024, ready: steps(puts(mine, 3*fullSlab), drops(mine, 2*fullSlab)), operate: allocates, live: 1, spans: -1, mayLeak: 1},
	{name: "Alloc, adopts", size: 1024, prepare: steps(putsOther(hosts, 3), closesOther), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, new slab", size: 1024, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, new slab of 240", size: 240, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, new slab of 16", size: 16, operate: allocates, live: 1, spans: 1, mayLeak: 1, long: true},
	{name: "Alloc, new slab of 32768", size: 32768, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, next chunk", size: 1024, heapSize: 48 << 20, prepare: fillChunk, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, large", size: 100_000, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, large, where one was", size: 100_000, ready: steps(puts(mine, 3), drops(mine, 1)), operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, 1 MiB", size: 1 << 20, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, no space", size: 1024, prepare: fillUp, operate: fails(alloc.ErrNoSpace, allocates), long: true},
	{name: "Alloc, room of the dead", size: 1024, prepare: fillUpBut(1), victim: steps(puts(mine, 3), drops(mine, 3)), operate: allocates, live: 1, caches: -2, mayLeak: 1, long: true},
	{name: "AllocZeroed", size: 256, operate: allocatesZeroed, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, heap-wide", size: 64, operate: allocatesHeapWide, live: 1, spans: 1, caches: 1, mayLeak: 1},

	{name: "AllocInto", size: 64, ready: puts(mine, 1), operate: allocatesInto, live: 1},
	{name: "AllocInto, next word", size: 512, ready: puts(mine, 64), operate: allocatesInto, live: 1},
	{name: "AllocInto, collects", size: 1024, ready: steps(puts(mine, fullSlab), dropsOther(mine, 8)), operate: allocatesInto, live: 1},
	{name: "AllocInto, adopts", size: 1024, prepare: steps(putsOther(hosts, 3), closesOther), operate: allocatesInto, live: 1},
	{name: "AllocInto, new slab", size: 1024, operate: allocatesInto, live: 1, spans: 1},
	{name: "AllocInto, large", size: 100_000, operate: allocatesInto, live: 1, spans: 1},
	{name: "AllocInto, large, where one was", size: 100_000, ready: steps(puts(mine, 3), drops(mine, 1)), operate: allocatesInto, live: 1, spans: 1},
	{name: "AllocInto, occupied", size: 64, ready: puts(subject, 1), operate: fails(alloc.ErrOccupied, allocatesInto)},

	{name: "Free", size: 64, ready: puts(mine, 2), operate: frees(mine), live: -1, mayLeak: 1},
	{name: "Free, second granule", size: 32768, ready: puts(mine, 8), operate: frees(mine + 7), live: -1, mayLeak: 1},
	{name: "Free, other's", size: 1024, prepare: puts(hosts, 2), operate: frees(hosts), live: -1, mayLeak: 1},
	{name: "Free, nobody's", size: 1024, prepare: steps(putsOther(hosts, 3), closesOther), operate: frees(hosts), live: -1, mayLeak: 1},
	{name: "Free, large", size: 100_000, prepare: puts(hosts, 1), operate: frees(hosts), live: -1, spans: -1, mayLeak: 1},
	{name: "Free, 1 MiB", size: 1 << 20, prepare: puts(hosts, 1), operate: frees(hosts), live: -1, spans: -1, mayLeak: 1},
	{name: "Free, twice", size: 64, ready: puts(mine, 2), operate: fails(alloc.ErrDoubleFree, freesTwice), live: -1, mayLeak: 1},
	{name: "Free, heap-wide", size: 1024, prepare: puts(hosts, 2), operate: freesHeapWide(hosts), live: -1, caches: 1, mayLeak: 1},

	{name: "FreeFrom", size: 64, ready: puts(mine, 2), operate: freesFrom(mine), live: -1},
	{name: "FreeFrom, second granule", size: 32768, ready: puts(mine, 8), operate: freesFrom(mine + 7), live: -1},
	{name: "FreeFrom, other's", size: 1024, prepare: puts(hosts, 2), operate: freesFrom(hosts), live: -1, mayLeak: 1},
	{name: "FreeFrom, nobody's", size: 1024, prepare: steps(putsOther(hosts, 3), closesOther), operate: freesFrom(hosts), live: -1},
	{name: "FreeFrom, large", size: 100_000, prepare: puts(hosts, 1), operate: freesFrom(hosts), live: -1, spans: -1},
	{name: "FreeFrom, 1 MiB", size: 1 << 20, prepare: puts(hosts, 1), operate: freesFrom(hosts), live: -1, spans: -1},

	{name: "AllocPrivate", size: 64, ready: keepsPrivate, operate: keepsPrivate, live: 1},
	{name: "AllocPrivate, new slab", size: 1024, operate: keepsPrivate, live: 1, spans: 1},
	{name: "AllocPrivate, large", size: 100_000, operate: keepsPrivate, live: 1, spans: 1},
	{name: "Publish", size: 64, ready: keepsPrivate, operate: publishes, mayLeak: 1},
	{name: "Publish, large", size: 100_000, ready: keepsPrivate, operate: publishes, mayLeak: 1},
	{name: "Free, private", size: 64, ready: steps(keepsPrivate, keepsPrivate), operate: freesKept, live: -1},
	{name: "Free, published", size: 64, ready: steps(keepsPrivate, publishes), operate: frees(subject), live: -1, mayLeak: 1},
	{name: "Free, large and private", size: 100_000, ready: keepsPrivate, operate: freesKept, live: -1, spans: -1},
	{name: "Cache.Close, private", size: 1024, ready: steps(keepsPrivate, publishes, keepsPrivate, sized(100_000, keepsPrivate)), operate: closesCache, live: -2, spans: -1, caches: -1},
	{name: "Recover, private", size: 1024, victim: steps(keepsPrivate, publishes, keepsPrivate, sized(100_000, keepsPrivate)), operate: recovers, live: -2, spans: -1, caches: -2},

	{name: "NewCache", size: 1024, operate: makesCache, caches: 1},
	{name: "Cache.Close", size: 1024, ready: steps(puts(mine, fullSlab+3), drops(mine, fullSlab), holds(mine+100)), operate: closesCache, caches: -1, spans: -3},
	{name: "Trim", size: 1024, prepare: steps(sized(100_000, puts(hosts, 4)), sized(100_000, drops(hosts, 4))), operate: trims},
	{name: "Allocator.Close", size: 1024, ready: holds(mine), operate: closesAllocator, caches: -2, spans: -2},

	{name: "heap.Open", size: 1024, has: hasNothing, operate: attaches, skim: true},
	{name: "alloc.Open", size: 1024, has: hasHeap, operate: opensAllocator},
	{name: "alloc.Open, recovers", size: 1024, has: hasHeap, victim: holds(mine), operate: opensAllocator, caches: -2},
	{name: "Heap.Close", size: 1024, ready: holds(mine), operate: detaches, caches: -2, spans: -2},
	{name: "Recover", size: 1024, victim: steps(holds(mine), puts(mine+20, fullSlab+3)), operate: recovers, caches: -2},

	{name: "StoreRoot, new", size: 64, operate: storesRoot},
	{name: "StoreRoot, old", size: 64, ready: storesRoot, operate: storesRoot},
	{name: "DeleteRoot", size: 64, ready: storesRoot, operate: deletesRoot},

	{name: "AllocAligned, class", size: 100, operate: allocatesAligned(64), live: 1, spans: 1, mayLeak: 1},
	{name: "AllocAligned, granules", size: 100, operate: allocatesAligned(256 << 10), live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, sampled", size: 64, prepare: samplesAll, ready: puts(mine, 1), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, large and sampled", size: 100_000, prepare: samplesAll, operate: allocates, live: 1, spans: 1, mayLeak: 1, long: true},
	{name: "AllocInto, sampled", size: 64, prepare: samplesAll, ready: puts(mine, 1), operate: allocatesInto, live: 1, long: true},
	{name: "Free, sampled", size: 64, prepare: samplesAll, ready: puts(mine, 2), operate: frees(mine), live: -1, mayLeak: 1},
	{name: "FreeFrom, sampled", size: 64, prepare: samplesAll, ready: puts(mine, 2), operate: freesFrom(mine), live: -1},
	{name: "FreeFrom, nobody's and sampled", size: 1024, prepare: steps(samplesAll, putsOther(hosts, 3), closesOther), operate: freesFrom(hosts), live: -1},
	{name: "Alloc, careful", size: 64, ready: steps(makesCareful, allocatesAt(mine, 1)), operate: allocates, live: 1, mayLeak: 1},
	{name: "Alloc, careful, new slab", size: 1000, ready: makesCareful, operate: allocates, live: 1, spans: 1, mayLeak: 1},
	{name: "Alloc, careful, collects", size: 1000, ready: steps(makesCareful, allocatesAt(mine, fullSlab), freesAll(mine, 8)), operate: allocates, live: 1, mayLeak: 1},
	{name: "Free, careful", size: 64, ready: steps(makesCareful, allocatesAt(mine, 2)), operate: frees(mine), live: -1, mayLeak: 1},
	{name: "Free, other's again", size: 1024, prepare: puts(hosts, 3), ready: frees(hosts), operate: frees(hosts + 1), live: -1, mayLeak: 1},
	{name: "Alloc, room of nobody", size: 64, prepare: steps(fillUpBut(1), sized(1024, leavesEmpty(mine))), operate: allocates, live: 1, mayLeak: 1, long: true},
	{name: "Trim, nobody's", size: 1024, prepare: leavesEmpty(hosts), operate: trims, spans: -1},

	{name: "Realloc, has room", size: 1024, ready: puts(subject, 1), operate: resizes(1000)},
	{name: "Realloc, small", size: 64, ready: puts(subject, 1), operate: moves(1024), spans: 1, mayLeak: 2},
	{name: "Realloc, other's", size: 64, prepare: puts(subject, 1), operate: moves(1024), spans: 1, mayLeak: 2},
	{name: "Realloc, becomes large", size: 1024, ready: puts(subject, 1), operate: moves(100_000), spans: 1, mayLeak: 2},
	{name: "Realloc, becomes small", size: 100_000, ready: steps(puts(subject, 1), shortens(1024)), operate: moves(1024), mayLeak: 2},
	{name: "Realloc, grows", size: 100_000, ready: puts(subject, 1), operate: resizes(300_000)},
	{name: "Realloc, grows, other's", size: 100_000, prepare: puts(subject, 1), operate: resizes(300_000)},
	{name: "Realloc, shrinks", size: 300_000, ready: steps(puts(subject, 1), shortens(100_000)), operate: resizes(100_000)},
	{name: "Realloc, large", size: 100_000, ready: steps(puts(subject, 1), puts(mine, 1)), operate: moves(300_000), mayLeak: 2},
	{name: "Realloc, no space", size: 100_000, ready: steps(puts(subject, 1), puts(mine, 1)), operate: fails(alloc.ErrNoSpace, resizes(60<<16)), long: true},
	{name: "Realloc, private", size: 64, ready: keepsPrivate, operate: resizesKept(1024), spans: 1},
	{name: "Realloc, private, grows", size: 100_000, ready: keepsPrivate, operate: resizesKept(300_000)},
	{name: "Realloc, private, shrinks", size: 300_000, ready: keepsPrivate, operate: resizesKept(100_000)},
	{name: "Realloc, private, large", size: 100_000, ready: steps(keepsPrivate, puts(mine, 1)), operate: resizesKept(300_000)},

	{name: "ReallocInto, has room", size: 1024, ready: puts(subject, 1), operate: resizesInto(1000)},
	{name: "ReallocInto, small", size: 64, ready: puts(subject, 1), operate: resizesInto(1024), spans: 1},
	{name: "ReallocInto, other's", size: 64, prepare: puts(subject, 1), operate: resizesInto(1024), spans: 1, mayLeak: 1},
	{name: "ReallocInto, nobody's", size: 64, prepare: steps(putsOther(subject, 3), closesOther), operate: resizesInto(1024), spans: 1},
	{name: "ReallocInto, becomes large", size: 1024, ready: puts(subject, 1), operate: resizesInto(100_000), spans: 1},
	{name: "ReallocInto, becomes small", size: 100_000, ready: steps(puts(subject, 1), shortens(1024)), operate: resizesInto(1024)},
	{name: "ReallocInto, grows", size: 100_000, ready: puts(subject, 1), operate: resizesInto(300_000)},
	{name: "ReallocInto, shrinks", size: 300_000, ready: steps(puts(subject, 1), shortens(100_000)), operate: resizesInto(100_000)},
	{name: "ReallocInto, large", size: 100_000, ready: steps(puts(subject, 1), puts(mine, 1)), operate: resizesInto(300_000)},
	{name: "ReallocInto, sampled", size: 64, prepare: samplesAll, ready: puts(subject, 1), operate: resizesInto(1024), spans: 1, long: true},
	{name: "ReallocInto, nobody's and sampled", size: 64, prepare: steps(samplesAll, putsOther(subject, 3), closesOther, samplesNone), operate: resizesInto(1024), spans: 1},

	{name: "NewArena", size: 1024, operate: makesArena, arenas: 1},
	{name: "NewArena, heap-wide", size: 1024, operate: makesArenaHeapWide, arenas: 1, caches: 1},
	{name: "Arena.Alloc", size: 1024, ready: steps(makesArena, fillsArena), operate: allocatesInArena},
	{name: "Arena.Alloc, new chunk", size: 100_000, ready: makesArena, operate: allocatesInArena},
	{name: "Arena.Reset", size: 100_000, ready: makesChunks, operate: resetsArena},
	{name: "Arena.Free", size: 100_000, ready: makesChunks, operate: freesArena, arenas: -1},
	{name: "Arena.Publish", size: 100_000, ready: makesChunks, operate: publishesArena, mayLeak: 1},
	{name: "Arena.PublishInto", size: 100_000, ready: makesChunks, operate: publishesArenaInto(subject)},
	{name: "Arena.PublishInto, occupied", size: 100_000, ready: steps(puts(subject, 1), makesChunks), operate: fails(alloc.ErrOccupied, publishesArenaInto(subject))},
	{name: "Arena.Free, published", size: 100_000, prepare: steps(makesChunks, publishesArenaInto(hosts)), ready: leavesOneWay(hosts), operate: freesPublished(hosts), arenas: -1, mayLeak: 1},
	{name: "OpenArena", size: 100_000, prepare: steps(makesChunks, publishesArenaInto(hosts)), operate: opensArena(hosts)},
	{name: "Cache.Close, arena", size: 100_000, ready: makesChunks, operate: closesCache, caches: -1, arenas: -1},
	{name: "Recover, arena", size: 100_000, victim: makesChunks, operate: recovers, caches: -2, arenas: -1},

	{name: "Collect", size: 1024, ready: losesAll, operate: collects, alone: true, live: -lostBlocks, spans: -3, arenas: -1, mayLeak: lostBlocks + 1},

	{name: "Hand.Make", size: 64, prepare: makesQueue, ready: takesHand, operate: makesInHand, live: 1, spans: 1},
	{name: "Hand.Free", size: 64, prepare: makesQueue, ready: steps(takesHand, makesInHand), operate: freesFromHand, live: -1},
	{name: "Hand.Free, other's", size: 64, prepare: steps(makesQueue, sendsOne), ready: steps(takesHand, receives), operate: freesFromHand, live: -1, mayLeak: 1},
	{name: "Hand.Put", size: 64, prepare: makesQueue, ready: steps(takesHand, makesInHand), operate: putsFromHand},
	{name: "Port.TrySend", size: 64, prepare: makesQueue, ready: steps(takesHand, makesInHand), operate: sends},
	{name: "Port.TrySend, received", size: 64, prepare: steps(makesQueue, sendsOne), ready: steps(takesHand, receives), operate: sends},
	{name: "Port.TryReceive", size: 64, prepare: steps(makesQueue, sendsOne), ready: takesHand, operate: receives},
	{name: "Port.TryReceive, adopts", size: 64, prepare: steps(makesQueue, sendsOne), victim: steps(takesHand, receives), ready: takesHand, operate: steps(recoversHands, receives), caches: -2},
	{name: "Hands.Recover", size: 64, prepare: makesQueue, victim: steps(takesHand, makesInHand), ready: takesHand, operate: recoversHands, live: -1, caches: -1},
	{name: "Hands.Hand", size: 64, prepare: makesQueue, operate: takesHand},
	{name: "Producer.TryPush", size: 32768, prepare: makesStream, ready: opensStream, operate: pushesOne},
	{name: "Producer.TryPushAll", size: 32768, prepare: makesStream, ready: opensStream, operate: pushesAll},
	{name: "Consumer.TryPop", size: 32768, prepare: makesStream, ready: opensStream, operate: popsOne},
	{name: "Consumer.TryPopAll", size: 32768, prepare: makesStream, ready: opensStream, operate: popsAll},
	{name: "Writer.Write", size: 32768, prepare: makesRing, ready: opensWriter, operate: writesRecord},
	{name: "Broadcast.Writer", size: 32768, prepare: makesRing, operate: steps(opensWriter, writesRecord)},

	{name: "Mutex.Lock", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: takes(theMutex, nil)},
	{name: "Mutex.TryLock", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: tries(nil)},
	{name: "Mutex.Lock, owner died", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theMutex), ready: findsLocks, operate: takes(theMutex, lock.ErrOwnerDied)},
	{name: "Mutex.TryLock, owner died", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theMutex), ready: findsLocks, operate: tries(lock.ErrOwnerDied)},
	{name: "Mutex.Lock, held", size: 32768, lock: true, prepare: steps(makesLocks, takes(theMutex, nil)), ready: findsLocks, operate: fails(context.DeadlineExceeded, waitsBriefly(theMutex))},
	{name: "Mutex.TryLock, held", size: 32768, lock: true, prepare: steps(makesLocks, takes(theMutex, nil)), ready: findsLocks, operate: tries(lock.ErrLocked)},
	{name: "Mutex, a turn", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: steps(takes(theMutex, nil), changes(theMutex, false), leaves(theMutex))},
	{name: "Mutex.Unlock", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, takes(theMutex, nil)), operate: leaves(theMutex)},
	{name: "Mutex.Unlock, waited for", size: 32768, lock: true, prepare: makesLocks, victim: steps(findsLocks, fails(context.DeadlineExceeded, waitsBriefly(theMutex))), ready: steps(findsLocks, takes(theMutex, nil)), operate: leaves(theMutex)},
	{name: "Mutex.MarkConsistent", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theMutex), ready: findsLocks, operate: steps(tries(lock.ErrOwnerDied), repairs(theMutex), leaves(theMutex))},
	{name: "Mutex.Unlock, not repaired", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theMutex), ready: findsLocks, operate: steps(tries(lock.ErrOwnerDied), leaves(theMutex))},
	{name: "RWMutex.Lock", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: takes(theWriter, nil)},
	{name: "RWMutex.Lock, reader died", size: 32768, lock: true, prepare: makesLocks, victim: steps(findsLocks, reads(nil)), ready: findsLocks, operate: takes(theWriter, nil)},
	{name: "RWMutex.Lock, owner died", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theWriter), ready: findsLocks, operate: takes(theWriter, lock.ErrOwnerDied)},
	{name: "RWMutex.Lock, read", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, reads(nil)), operate: fails(context.DeadlineExceeded, waitsBriefly(theWriter))},
	{name: "RWMutex, a turn", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: steps(takes(theWriter, nil), changes(theWriter, false), leaves(theWriter))},
	{name: "RWMutex.Unlock", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, takes(theWriter, nil)), operate: leaves(theWriter)},
	{name: "RWMutex.MarkConsistent", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theWriter), ready: findsLocks, operate: steps(takes(theWriter, lock.ErrOwnerDied), repairs(theWriter), leaves(theWriter))},
	{name: "RWMutex.RLock", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: reads(nil)},
	{name: "RWMutex.RLock, written", size: 32768, lock: true, prepare: steps(makesLocks, takes(theWriter, nil)), ready: findsLocks, operate: fails(context.DeadlineExceeded, readsBriefly)},
	{name: "RWMutex.RLock, writer died", size: 32768, lock: true, prepare: makesLocks, victim: diesWith(theWriter), ready: findsLocks, operate: reads(lock.ErrOwnerDied)},
	{name: "RWMutex.RUnlock", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, reads(nil)), operate: readsNoMore},
	{name: "Cond.Wait", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, takes(theMutex, nil)), operate: fails(context.DeadlineExceeded, waitsForSignal)},
	{name: "Cond.Signal", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, takes(theMutex, nil)), operate: signals},
	{name: "Cond.Signal, waited for", size: 32768, lock: true, prepare: makesLocks, victim: steps(findsLocks, takes(theMutex, nil), fails(context.DeadlineExceeded, waitsForSignal), leaves(theMutex)), ready: findsLocks, operate: signals},
	{name: "Semaphore.Acquire", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: acquires},
	{name: "Semaphore.Acquire, of the dead", size: 32768, lock: true, prepare: steps(makesLocks, keepsPermit), victim: steps(findsLocks, acquires), ready: findsLocks, operate: acquires},
	{name: "Semaphore.Acquire, none left", size: 32768, lock: true, prepare: steps(makesLocks, keepsPermit, keepsPermit), ready: findsLocks, operate: fails(context.DeadlineExceeded, acquiresBriefly)},
	{name: "Semaphore.TryAcquire, of the dead", size: 32768, lock: true, prepare: steps(makesLocks, keepsPermit), victim: steps(findsLocks, acquires), ready: findsLocks, operate: triesToAcquire},
	{name: "Semaphore.Release", size: 32768, lock: true, prepare: makesLocks, ready: steps(findsLocks, acquires), operate: releases},
	{name: "Once.Do", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: doesOnce},
	{name: "Once.Do, done", size: 32768, lock: true, prepare: steps(makesLocks, doesOnce), ready: findsLocks, operate: doesOnce},
	{name: "Once.Do, fails", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: failsOnce},
	{name: "Once.Do, again", size: 32768, lock: true, prepare: makesLocks, victim: steps(findsLocks, diesInOnce), ready: findsLocks, operate: doesOnce},
	{name: "Barrier.Wait, last", size: 32768, lock: true, prepare: makesLocks, victim: steps(findsLocks, diesAtBarrier), ready: findsLocks, operate: waitsForTheOther},
	{name: "Barrier.Wait, alone", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: fails(context.DeadlineExceeded, waitsAlone)},
	{name: "Guard.SetBits", size: 32768, lock: true, prepare: makesLocks, ready: findsLocks, operate: setsBit},
	{name: "Guard.SetBits, owner died", size: 32768, lock: true, prepare: makesLocks, victim: steps(findsLocks, diesWithGuard), ready: findsLocks, operate: setsBit},
}

func freesTwice(p *party) error {
	b := p.takeAway(mine)
	if err := p.cache.Free(b); err != nil {
		return err
	}
	return p.cache.Free(b)
}

// fillChunk takes the granules whose tables are committed first, so that the next need new ones.
func fillChunk(p *party) error {
	stats, err := p.alloc.Stats()
	if err != nil {
		return err
	}
	g := p.heap.Geometry()
	used := g.Granules() - g.FirstGranule() - stats.FreeGranules
	return p.putSize(p.cache, hosts, (512-g.FirstGranule()-used)<<16)
}

// fillUpBut fills the heap up but for n granules.
func fillUpBut(n uint64) step {
	return func(p *party) error {
		const spare = slotCount - 1
		if err := p.putSize(p.cache, spare, n<<16); err != nil {
			return err
		}
		return errors.Join(fillUp(p), p.drop(p.cache, spare))
	}
}

// operationNamed finds an operation in the table.
func operationNamed(name string) (*operation, error) {
	for i := range operations {
		if operations[i].name == name {
			return &operations[i], nil
		}
	}
	return nil, fmt.Errorf("no operation %q", name)
}
