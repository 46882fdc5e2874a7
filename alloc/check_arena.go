package alloc

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/layout"
)

// Of an arena Check wants
//
//	chunks whose descriptor names the head == chunks in the head's list
//
// as long as nobody is at it, which of a published arena is always.

// arena walks the list of the arena of that head. Its owner takes chunks out of the list, at the front, before it
// frees them: what looks wrong is so only if the front is what it was.
func (c *checker) arena(head uint64) error {
	a, d := c.a, c.a.arenaRecord(head)
	front := d.Next.Load()
	if d.Head.Load() != head {
		return fmt.Errorf("its descriptor names granule %d as the arena's head", d.Head.Load())
	}
	if err := c.used(head); err != nil {
		return err
	}
	chunks, granules := 0, uint64(0)
	for g := front; g != 0; g = a.arenaRecord(g).Next.Load() {
		s, ok := a.chunkOf(head, g)
		if granules += s.Run(); !ok || granules > a.limit {
			if d.Next.Load() != front {
				return nil
			}
			return fmt.Errorf("granule %d, state %#x, is in its list", g, uint64(s))
		}
		chunks++
	}
	c.arenas[head] -= chunks
	return nil
}

// chunk: a chunk's descriptor names an arena.
func (c *checker) chunk(g uint64) error {
	head := c.a.arenaRecord(g).Head.Load()
	if _, ok := c.a.arenaHead(head); !ok {
		return fmt.Errorf("chunk of granule %d, which heads no arena", head)
	}
	c.arenas[head]++
	return c.used(g)
}

func (c *checker) used(g uint64) error {
	used := c.a.arenaRecord(g).Used.Load()
	if run := layout.State(c.a.states[g].Load()).Run(); used > run<<layout.GranuleShift || used%16 != 0 {
		return fmt.Errorf("%d bytes of %d granules are allocated", used, run)
	}
	return nil
}

// strays reports published arenas whose list lacks chunks. What was published, or freed, while Check was at it is
// counted again.
func (c *checker) strays() {
	for head, missing := range c.arenas {
		s, ok := c.a.arenaHead(head)
		if missing == 0 || !ok || s.Cache() != 0 {
			continue
		}
		size, err := c.a.arenaSize(head)
		chunks := c.countChunks(head) + 1
		if now, _ := c.a.arenaHead(head); now == s && (err != nil || chunks != size.Chunks) {
			c.report.Problem("arena at %#x: %d spans belong to it, its list has %d",
				c.a.address(head<<layout.GranuleShift), chunks, size.Chunks)
		}
	}
}

func (c *checker) countChunks(head uint64) (n int) {
	for g := c.a.first; g < c.a.frontier(); g++ {
		if _, ok := c.a.chunkOf(head, g); ok {
			n++
		}
	}
	return n
}
