package queue

import "github.com/shmheap/shmheap/internal/mem"

// A producer that is close behind the consumer of a full queue, and a consumer that is close behind the producer
// of an empty one, keep taking lines from the other that it is about to use: each look and each store waits
// for a line to travel. So in a long queue a side that has to wait does so, for some microseconds, until it
// has a stretch before it, and then has the lines of the stretch brought before it comes to them, many at
// once. That makes streams several times as fast, and it changes nothing of what is stored: slots are looked
// at before they are taken, or were looked at in the same order before.
const (
	longestStretch = 2048
	// fetchAhead is how many slots before they are needed lines are brought: as many as the processor
	// fetches at once, and few beside the lines that stay near it.
	fetchAhead = 64
	// patience is how often a side in the middle of a stream looks for a stretch before it makes do with
	// less, resting in between. After that it makes do until a stretch has gone by.
	patience = 8
	// batchAhead is how long a batch is that is worth such a wait.
	batchAhead = 32
)

// stretchOf is what a side of a queue waits for, 0 in a queue that is too short for it.
func stretchOf(slots int) uint64 {
	if slots < 4*fetchAhead {
		return 0
	}
	return uint64(min(slots/4, longestStretch))
}

// ahead returns the place n positions on, in a queue that is longer than that.
func (c cursor) ahead(n uint64, slots int) cursor {
	if c.index += n; c.index >= uint64(slots) {
		c.index -= uint64(slots)
		c.lap = c.next()
	}
	return c
}

// fetch brings the lines of n slots, from the given one on or as far as they go, to be stored to.
func fetch(slots []mem.Word, index, n uint64) {
	index &= uint64(len(slots)) - 1
	n = min(n, uint64(len(slots))-index)
	mem.PrefetchWrite(&slots[index], (n+lineSlots-1)/lineSlots)
}

// lookAhead finds out how many slots are free from the producer's place on, where it is the only one. If
// it looked at each slot before its store, it would fetch the line from the consumer, which empties slots
// in it, only to take it away again. As slots are filled and emptied in their order, one far ahead that is free
// says that all before it are, as long as the first one is: a producer that follows one that died may be
// behind the truth. With hands each has to be looked at for the names in it.
func (p *Producer) lookAhead() {
	p.room = 0
	if !p.single || p.hand != nil {
		return
	}
	if p.stretch > 0 && p.lookFar() {
		fetch(p.slots, p.at.index, fetchAhead)
		return
	}
	for i := p.at.index; i <= p.at.index|p.line && p.slots[i].Load() == p.at.lap; i++ {
		p.room++
	}
}

// lookFar looks for a stretch of room, or for some.
func (p *Producer) lookFar() bool {
	rests := 0
	if p.run() >= p.stretch {
		rests = patience
	}
	for ; !p.hasFree(p.stretch); rests-- {
		if rests == 0 {
			if p.hasFree(fetchAhead) {
				p.room = fetchAhead
			}
			return p.room > 0
		}
		p.rest()
	}
	p.room = int(p.stretch)
	return true
}

// hasFree reports whether n slots are free from the producer's place on. Of two slots that a consumer empties at
// once the second may be free first, so both have to be.
func (p *Producer) hasFree(n uint64) bool { return p.isFree(n) && p.isFree(n-1) && p.isFree(1) }

// isFree reports whether the n-th slot from the producer's place on is free.
func (p *Producer) isFree(n uint64) bool {
	at := p.at.ahead(n-1, len(p.slots))
	return p.slots[at.index].Load() == at.lap
}

// fetchOn brings further lines after n slots have been filled.
func (p *Producer) fetchOn(n uint64) {
	if p.room >= fetchAhead {
		fetch(p.slots, p.at.index+fetchAhead-n, n)
	}
}

// lookAhead finds out whether a stretch is full from the consumer's place on. Elements are pushed in their
// order, so one far ahead that is full says that all before it are. That serves to bring lines, and each slot
// is looked at all the same.
func (c *Consumer) lookAhead(patient bool) {
	rests := 0
	if patient && c.run() >= c.stretch {
		rests = patience
	}
	for ; !c.isFull(c.stretch); rests-- {
		if rests == 0 {
			c.ready = 0
			return
		}
		c.rest()
	}
	if c.ready < fetchAhead {
		fetch(c.slots, c.at.index, fetchAhead)
	}
	c.ready = c.stretch
}

// isFull reports whether the n-th slot from the consumer's place on is full.
func (c *Consumer) isFull(n uint64) bool {
	at := c.at.ahead(n-1, len(c.slots))
	return (c.slots[at.index].Load()^at.lap)>>lapShift == slotFull>>lapShift
}

// fetchOn brings further lines after n slots have been emptied.
func (c *Consumer) fetchOn(n uint64) {
	if c.ready > n {
		if c.ready -= n; c.ready >= fetchAhead {
			fetch(c.slots, c.at.index+fetchAhead-n, n)
		}
	} else if c.stretch > 0 {
		c.lookAhead(false)
	}
}
