package heap

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shmheap/shmheap/internal/layout"
)

// leases are locks in memory that machines share. Whoever holds one raises a counter beside it several times in each
// term, and whoever wants to know whether the holder lives looks whether the counter moves, by its own clock alone: clocks of
// machines are not compared.
//
// A lease is not a lock. A holder that stops for longer than the term (its machine is suspended, its process stopped) loses
// what it holds, does not know it, and may go on to store when it wakes up. Its own beat notices first thing and
// makes every method return ErrExpelled, but a store through a raw pointer nothing can prevent. So the term must be longer than
// any stop that a process is to survive.
type leases struct {
	table []layout.Lease
	peers int64 // leases of slots
	term  time.Duration
	self  uint64 // what Holder says while it is this one's

	mu   sync.Mutex
	mine map[int]bool
	seen []sighting
	last time.Time // when round was called

	expelled atomic.Bool
	stop     chan struct{}
	stopped  sync.WaitGroup
}

// sighting is what was last seen of a lease, and since when nothing else was.
type sighting struct {
	holder, beat uint64
	since        time.Time
}

// Beats and looks in a term. A look may be late by a beat, and so may a beat.
const beatsPerTerm = 8

func newLeases(table []layout.Lease, maxPeers uint32, term time.Duration) *leases {
	var number [8]byte
	rand.Read(number[:]) // never fails
	l := &leases{
		table: table, peers: int64(maxPeers), term: term, self: binary.LittleEndian.Uint64(number[:]) | 1,
		mine: make(map[int]bool), seen: make([]sighting, len(table)), last: time.Now(),
		stop: make(chan struct{}),
	}
	l.stopped.Go(l.run)
	return l
}

// close gives up everything.
func (l *leases) close() {
	close(l.stop)
	l.stopped.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.mine {
		l.table[i].Holder.CompareAndSwap(l.self, 0)
	}
	clear(l.mine)
}

// run beats, and looks at the beats of the others.
func (l *leases) run() {
	ticker := time.NewTicker(l.term / beatsPerTerm)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			l.round(time.Now())
		}
	}
}

// round does what is due. After a stop of this process it forgets what it has seen: the others may have been
// stopped with it.
func (l *leases) round(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	afterStop := l.wasStopped(now)
	l.last = now
	for i := range l.mine {
		if l.table[i].Holder.Load() != l.self {
			l.expelled.Store(true)
			delete(l.mine, i) // a beat would be taken for that of whoever has it now
			continue
		}
		l.table[i].Beat.Add(1)
	}
	if afterStop {
		clear(l.seen)
	}
	for i := range l.table {
		l.expired(i, l.table[i].Holder.Load(), now)
	}
}

// wasStopped reports whether this process has not looked for so long that what it has seen says nothing about others. The
// caller holds mu.
func (l *leases) wasStopped(now time.Time) bool { return now.Sub(l.last) > l.term/2 }

// expired reports whether whoever holds a lease has not moved for the term. The caller holds mu.
func (l *leases) expired(i int, holder uint64, now time.Time) bool {
	beat, s := l.table[i].Beat.Load(), &l.seen[i]
	if s.holder != holder || s.beat != beat || s.since.IsZero() {
		*s = sighting{holder, beat, now}
		return false
	}
	return now.Sub(s.since) > l.term && !l.wasStopped(now)
}

// index returns which lease stands for a byte lock.
func (l *leases) index(off int64) (int, error) {
	if slot := off - lockPeers; slot >= 0 && slot < l.peers {
		return int(slot), nil
	}
	for lease, lock := range map[int64]int64{
		layout.LeaseRoots: lockRoots, layout.LeaseGrowth: lockGrowth, layout.LeaseCreate: lockCreate, layout.LeaseAlone: lockAlone,
	} {
		if lock == off {
			return int(l.peers + lease), nil
		}
	}
	return 0, fmt.Errorf("a lease for lock %#x: %w", off, errors.ErrUnsupported)
}

func (l *leases) tryRange(off, n int64) (bool, error) {
	if off == lockReader {
		return true, nil // nobody reads alone here
	}
	if off == lockPeers {
		n = min(n, l.peers)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []int
	for at := off; at < off+n; at++ {
		i, err := l.index(at)
		had := err == nil && l.mine[i]
		if err != nil || !l.take(i) {
			l.drop(taken)
			return false, err
		}
		if !had {
			taken = append(taken, i)
		}
	}
	return true, nil
}

// take takes a lease that nobody has, or that has expired.
func (l *leases) take(i int) bool {
	holder := &l.table[i].Holder
	w := holder.Load()
	if l.mine[i] {
		return w == l.self
	}
	if w != 0 && !l.expired(i, w, time.Now()) || !holder.CompareAndSwap(w, l.self) {
		return false
	}
	l.mine[i] = true
	return true
}

func (l *leases) drop(taken []int) {
	for _, i := range taken {
		l.table[i].Holder.CompareAndSwap(l.self, 0)
		delete(l.mine, i)
	}
}

func (l *leases) tryShared(int64) (bool, error) {
	return false, fmt.Errorf("reading alone in memory that machines share: %w", errors.ErrUnsupported)
}

func (l *leases) unlock(off, n int64) error {
	if slot := off - lockPeers; slot >= 0 && slot < layout.MaxPeers {
		n = min(n, l.peers-slot) // there are no leases for slots that the table does not have
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := off; at < off+n; at++ {
		if i, err := l.index(at); err == nil && l.mine[i] {
			l.drop([]int{i})
		}
	}
	return nil
}

func (l *leases) held(off int64) (bool, error) {
	i, err := l.index(off)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lives(i), nil
}

// lives reports whether somebody else holds a lease. One that has expired is taken away, so that the answer is one for all
// machines, whatever they have seen, and the holder, should it only have been stopped, finds that it is expelled: what it had is
// others' from here on. The caller holds mu.
func (l *leases) lives(i int) bool {
	holder := &l.table[i].Holder
	for {
		w := holder.Load()
		if w == 0 || w == l.self {
			return false
		}
		if !l.expired(i, w, time.Now()) {
			return true
		}
		if holder.CompareAndSwap(w, 0) {
			return false
		}
	}
}
