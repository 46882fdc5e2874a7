package alloc

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/shmheap/shmheap/internal/goroutine"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// near lends caches to goroutines without a lock. A place belongs to one goroutine, so nobody else uses its
// cache, and the goroutine only says that it is at it. To take the place away another removes it from the table,
// makes all threads pass a barrier, and looks whether the goroutine is at it: then it has either been
// seen or will see that the place is gone. That makes the seldom side pay for both (asymmetric Dekker
// locks: Dice, Huang, Yang: Asymmetric Dekker synchronization, 2001; membarrier(2)).
//
//	goroutine                       who takes the place away
//	busy = 1                        table = nobody
//	                                barrier of all threads
//	is table still the place?       is busy 0?
//
// A place that was taken away is never used again, so that a goroutine that slept between its first look
// and busy = 1 touches what belongs to it alone. Where there is no such barrier, or no way to tell
// goroutines apart, the table stays empty and the shards serve everybody.
type near struct {
	table unsafe.Pointer // the first of places
	mask  uintptr        // of what the address of a place in the table takes from an identity

	places []atomic.Pointer[place] // never nil, but nobody

	mu     sync.Mutex // held to put places into the table and to take them away
	closed bool
	misses atomic.Uint32
}

// place is the claim of one goroutine on one cache.
type place struct {
	busy  mem.Word // 1 while the goroutine is at the cache; written by it alone
	owner uintptr
	cache *Cache
	_     [40]byte
}

// Of a goroutine whose place is somebody else's every evictAfter-th call takes it over, so that places do not
// stay with goroutines that have ended or allocate no more.
const evictAfter = 256

func (n *near) init() {
	size := 0
	if goroutine.Known && sys.RegisterThreadBarrier() {
		size = 8
		for size < 4*runtime.GOMAXPROCS(0) && size < 256 {
			size *= 2
		}
	}
	n.closed = size == 0
	n.places = make([]atomic.Pointer[place], max(size, 1))
	for i := range n.places {
		n.places[i].Store(&nobody)
	}
	n.table = unsafe.Pointer(unsafe.SliceData(n.places))
	n.mask = uintptr(len(n.places)-1) * unsafe.Sizeof(n.places[0])
}

// nobody has a place that nobody has.
var nobody = place{owner: 1}

// enter returns the place of the goroutine of that identity, which is the caller's, and marks it busy, or nil
// when it has none.
func (n *near) enter(id uintptr) *place {
	at := n.at(id)
	p := at.Load()
	if p.owner != id {
		return nil
	}
	p.busy.Set(1)
	if at.Load() != p {
		p.leave()
		return nil
	}
	return p
}

// leave ends what enter began.
func (p *place) leave() { p.busy.SetRelease(0) }

// at spreads descriptors, which lie hundreds of bytes apart, over the table.
func (n *near) at(id uintptr) *atomic.Pointer[place] {
	return (*atomic.Pointer[place])(unsafe.Add(n.table, (id>>3^id>>9)&n.mask))
}

// settle gives the calling goroutine a place of its own, with a cache that make makes or that of a goroutine
// that it drives out, and returns it as enter does; or nil when it shall make do with a shard.
func (n *near) settle(newCache func() (*Cache, error)) *place {
	id := goroutine.ID()
	at := n.at(id)
	if at.Load() != &nobody && n.misses.Add(1)%evictAfter != 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	p := &place{owner: id}
	if at.Load() == &nobody {
		c, err := newCache()
		if err != nil {
			return nil
		}
		p.cache = c
	} else if p.cache = n.takeAway(at); p.cache == nil {
		return nil
	}
	p.busy.Set(1)
	at.Store(p)
	return p
}

// takeAway returns the cache of a place that nobody is at, which is out of the table then, or nil.
func (n *near) takeAway(at *atomic.Pointer[place]) *Cache {
	old := at.Swap(&nobody)
	if old == &nobody {
		return nil
	}
	if sys.ThreadBarrier() != nil || old.busy.Load() != 0 {
		at.Store(old)
		return nil
	}
	return old.cache
}

// dropEmpties gives back the empty slabs of the caches that nobody is at. The caller may have a place itself: it
// is busy then.
func (n *near) dropEmpties() (dropped int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.places {
		at := &n.places[i]
		old := at.Load()
		if c := n.takeAway(at); c != nil {
			dropped += c.dropEmpties()
			at.Store(&place{owner: old.owner, cache: c})
		}
	}
	return dropped
}

// close takes all places away, and waits for those whose goroutine is at it. It does not hold mu meanwhile: that
// goroutine may have to drop empties before it leaves.
func (n *near) close() {
	left := n.empty()
	if len(left) == 0 || sys.ThreadBarrier() != nil {
		return
	}
	for _, p := range left {
		for p.busy.Load() != 0 {
			runtime.Gosched()
		}
	}
}

// empty takes all places away for good and returns them.
func (n *near) empty() (left []*place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for i := range n.places {
		if p := n.places[i].Swap(&nobody); p != &nobody {
			left = append(left, p)
		}
	}
	return left
}
