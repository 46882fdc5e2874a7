package alloc

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// shards are the caches behind the Allocator's own methods for goroutines that have no place of their own: one for
// each processor that Go uses. A sync.Pool brings a goroutine back to the shard that its processor used
// last; the mutex makes sure that it is alone there.
type shards struct {
	all    []shard
	near   sync.Pool
	next   atomic.Uint32
	closed atomic.Bool
}

type shard struct {
	mu    sync.Mutex
	a     *Allocator
	cache *Cache
	_     [40]byte // keep the mutexes of two processors on two lines
}

func (s *shards) init(a *Allocator) {
	s.all = make([]shard, runtime.GOMAXPROCS(0))
	for i := range s.all {
		s.all[i].a = a
	}
	s.near.New = func() any { return &s.all[int(s.next.Add(1))%len(s.all)] }
}

// borrow returns a shard whose cache nobody else uses until giveBack.
func (s *shards) borrow() (*shard, error) {
	sh := s.near.Get().(*shard)
	if !sh.mu.TryLock() {
		sh = s.another()
	}
	if s.closed.Load() {
		sh.mu.Unlock()
		return nil, ErrClosed
	}
	if sh.cache == nil {
		c, err := sh.a.newCache()
		if err != nil {
			sh.mu.Unlock()
			return nil, err
		}
		sh.cache = c
	}
	return sh, nil
}

// another takes the first shard that is idle, or waits for one.
func (s *shards) another() *shard {
	for i := range s.all {
		if s.all[i].mu.TryLock() {
			return &s.all[i]
		}
	}
	sh := &s.all[int(s.next.Add(1))%len(s.all)]
	sh.mu.Lock()
	return sh
}

func (s *shards) giveBack(sh *shard) {
	sh.mu.Unlock()
	s.near.Put(sh)
}

// dropEmpties gives back the empty slabs of the idle shards' caches, except that of the caller, which
// may be a shard's too.
func (s *shards) dropEmpties(caller *Cache) (n int) {
	for i := range s.all {
		sh := &s.all[i]
		if !sh.mu.TryLock() {
			continue
		}
		if sh.cache != nil && sh.cache != caller && !sh.cache.closed {
			n += sh.cache.dropEmpties()
		}
		sh.mu.Unlock()
	}
	return n
}

// close waits for the shards in use and makes borrow fail from then on. The caches themselves are
// closed by the allocator.
func (s *shards) close() {
	s.closed.Store(true)
	for i := range s.all {
		s.wait(&s.all[i])
	}
}

func (s *shards) wait(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
}
