package heap

import "sync"

// Stay is a time in which somebody looks at the mapping again and again, or sleeps in it, for the packages that build on
// this one. Close wakes who stays and waits for him to leave. The zero value is ready for Heap.Stay, once at a time; one
// that nobody has let stay, as in memory that does not go away, is never over.
type Stay struct {
	// Wake ends his sleep, nil where he does not sleep. It is not called any more when Leave has returned, and must not wait for who stays.
	Wake func()
	at   *stays
}

// stays are those of a heap.
type stays struct {
	mu   sync.Mutex
	all  map[*Stay]struct{}
	over bool
	left sync.WaitGroup // for all; nobody is added once it is over
}

// Stay keeps the mapping in place until s.Leave. Who stays asks s.Over after he has announced his sleep and before he sleeps.
// It returns ErrClosed when Close has begun.
func (h *Heap) Stay(s *Stay) error {
	h.stays.mu.Lock()
	defer h.stays.mu.Unlock()
	if h.stays.over {
		return ErrClosed
	}
	if h.stays.all == nil {
		h.stays.all = make(map[*Stay]struct{})
	}
	h.stays.all[s] = struct{}{}
	h.stays.left.Add(1)
	s.at = &h.stays
	return nil
}

// Over reports whether the heap is being closed.
func (s *Stay) Over() bool {
	if s.at == nil {
		return false
	}
	s.at.mu.Lock()
	defer s.at.mu.Unlock()
	return s.at.over
}

// Leave lets Close take the mapping away.
func (s *Stay) Leave() {
	if s.at == nil {
		return
	}
	s.at.mu.Lock()
	defer s.at.mu.Unlock()
	delete(s.at.all, s)
	s.at.left.Done()
	s.at = nil
}

// end wakes all who stay and waits until they have left.
func (s *stays) end() {
	s.mu.Lock()
	s.over = true
	for one := range s.all {
		if one.Wake != nil {
			one.Wake()
		}
	}
	s.mu.Unlock()
	s.left.Wait()
}
