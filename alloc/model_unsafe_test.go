package alloc

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/shmheap/shmheap/internal/layout"
)

// TestModel runs random operations of several peers, some of which die, against a plain list of what
// is allocated. A failure prints the seed that replays it.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := model{region: newGoRegion(t, 32<<20)}
		m.join(t)
		t.Repeat(map[string]func(*rapid.T){
			"alloc":   m.alloc,
			"burst":   m.burst,
			"arena":   m.arena,
			"forget":  m.forget,
			"free":    m.free,
			"realloc": m.realloc,
			"drain":   m.drain,
			"misuse":  m.misuse,
			"cache":   m.cache,
			"close":   m.close,
			"join":    m.join,
			"die":     m.die,
			"recover": m.recover,
			"trim":    m.trim,
			"":        m.verify,
		})
	})
}

type model struct {
	region *goRegion
	peers  []*modelPeer // alive
	blocks []modelBlock
	arenas []modelArena // published
}

type modelPeer struct {
	a      *Allocator
	member *member
	caches []*Cache
}

type modelBlock struct{ off, size uint64 }

func (m *model) join(t *rapid.T) {
	if len(m.peers) == 4 {
		return
	}
	a, member := m.region.join(t)
	m.peers = append(m.peers, &modelPeer{a: a, member: member, caches: []*Cache{mustCache(t, a)}})
}

func (m *model) peer(t *rapid.T) *modelPeer { return rapid.SampledFrom(m.peers).Draw(t, "peer") }

func (m *model) pick(t *rapid.T) *Cache {
	return rapid.SampledFrom(m.peer(t).caches).Draw(t, "cache")
}

func (m *model) cache(t *rapid.T) {
	if p := m.peer(t); len(p.caches) < 3 {
		p.caches = append(p.caches, mustCache(t, p.a))
	}
}

func (m *model) close(t *rapid.T) {
	p := m.peer(t)
	if len(p.caches) == 1 {
		return
	}
	last := len(p.caches) - 1
	if err := p.caches[last].Close(); err != nil {
		t.Fatal(err)
	}
	p.caches = p.caches[:last]
}

func (m *model) die(t *rapid.T) {
	if len(m.peers) == 1 {
		return
	}
	i := rapid.IntRange(0, len(m.peers)-1).Draw(t, "victim")
	m.peers[i].member.die()
	m.peers = slices.Delete(m.peers, i, i+1)
}

func (m *model) recover(t *rapid.T) {
	if _, err := m.peer(t).a.Recover(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) trim(t *rapid.T) {
	if _, err := m.peer(t).a.Trim(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) alloc(t *rapid.T) {
	size := rapid.OneOf(rapid.Uint64Range(0, 512), rapid.Uint64Range(0, 40_000), rapid.Uint64Range(0, 2<<20)).Draw(t, "size")
	align := rapid.SampledFrom([]uint64{1, 1, 1, 64, 4096, 64 << 10, 256 << 10}).Draw(t, "align")
	m.addAligned(t, m.pick(t), size, align)
}

func (m *model) addAligned(t *rapid.T, c *Cache, size, align uint64) {
	off, err := c.allocAligned(size, align)
	if errors.Is(err, ErrNoSpace) {
		return
	}
	if err != nil || (off+c.a.origin<<layout.GranuleShift)%align != 0 {
		t.Fatalf("%d bytes aligned to %d at %#x: %v", size, align, off, err)
	}
	fillBlock(c.a, off, size)
	m.blocks = append(m.blocks, modelBlock{off, size})
}

func (m *model) burst(t *rapid.T) {
	c := m.pick(t)
	size := rapid.SampledFrom([]uint64{16, 112, 1000, 9000, 30_000}).Draw(t, "size")
	for range rapid.IntRange(1, 3000).Draw(t, "count") {
		if !m.add(t, c, size) {
			return
		}
	}
}

func (m *model) add(t *rapid.T, c *Cache, size uint64) bool {
	off, err := c.alloc(size)
	if errors.Is(err, ErrNoSpace) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	fillBlock(c.a, off, size)
	m.blocks = append(m.blocks, modelBlock{off, size})
	return true
}

// modelArena is a published arena.
type modelArena struct {
	address unsafe.Pointer
	blocks  []modelBlock
}

// arena makes an arena, fills it, and publishes it, frees it, or leaves it to its cache.
func (m *model) arena(t *rapid.T) {
	c := m.pick(t)
	r, err := NewArena(c, &ArenaOptions{Chunk: rapid.Uint64Range(0, 300_000).Draw(t, "chunk")})
	var blocks []modelBlock
	for range rapid.IntRange(0, 50).Draw(t, "count") {
		var p unsafe.Pointer
		size := rapid.Uint64Range(0, 20_000).Draw(t, "size")
		if err == nil {
			p, err = r.Alloc(size)
		}
		if err == nil {
			off, _ := c.a.memory.Offset(p)
			fillBlock(c.a, off, size)
			blocks = append(blocks, modelBlock{off, size})
		}
	}
	switch rapid.SampledFrom([]string{"publish", "free", "leave"}).Draw(t, "end") {
	case "publish":
		if err == nil {
			err = r.Publish()
			m.arenas = append(m.arenas, modelArena{r.Address(), blocks})
		}
	case "free":
		if err == nil {
			err = r.Free()
		}
	}
	if err != nil && !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
}

// forget frees a published arena, whose blocks are what they were.
func (m *model) forget(t *rapid.T) {
	if len(m.arenas) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.arenas)-1).Draw(t, "arena")
	x := m.arenas[i]
	m.arenas = slices.Delete(m.arenas, i, i+1)
	c := m.pick(t)
	for _, b := range x.blocks {
		if err := verifyBlock(c.a, b.off); err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenArena(c, x.address)
	if err == nil {
		err = r.Free()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) free(t *rapid.T) {
	if len(m.blocks) > 0 {
		m.remove(t, m.pick(t), rapid.IntRange(0, len(m.blocks)-1).Draw(t, "block"))
	}
}

func (m *model) realloc(t *rapid.T) {
	if len(m.blocks) == 0 {
		return
	}
	b := &m.blocks[rapid.IntRange(0, len(m.blocks)-1).Draw(t, "block")]
	size := rapid.OneOf(rapid.Uint64Range(1, 512), rapid.Uint64Range(1, 40_000), rapid.Uint64Range(1, 2<<20)).Draw(t, "size")
	c := m.pick(t)
	off, err := c.realloc(b.off, size)
	if errors.Is(err, ErrNoSpace) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	b.off, b.size = off, size
	fillBlock(c.a, off, size)
}

func (m *model) drain(t *rapid.T) {
	c := m.pick(t)
	for range rapid.IntRange(0, len(m.blocks)).Draw(t, "count") {
		m.remove(t, c, len(m.blocks)-1)
	}
}

func (m *model) remove(t *rapid.T, c *Cache, i int) {
	b := m.blocks[i]
	if err := verifyBlock(c.a, b.off); err != nil {
		t.Fatal(err)
	}
	mustFree(t, c, b.off)
	if err := c.free(b.off); err == nil {
		t.Fatalf("block at %#x was freed twice", b.off)
	}
	m.blocks[i] = m.blocks[len(m.blocks)-1]
	m.blocks = m.blocks[:len(m.blocks)-1]
}

func (m *model) misuse(t *rapid.T) {
	off := rapid.Uint64Range(0, m.region.geometry.Size+1<<20).Draw(t, "offset")
	known := slices.ContainsFunc(m.blocks, func(b modelBlock) bool { return b.off == off })
	if err := m.pick(t).free(off); err == nil && !known {
		t.Fatalf("freed %#x, which nobody allocated", off)
	} else if known {
		t.Skip("a block after all")
	}
}

// verify: the heap is undamaged and holds exactly the blocks of the model, each with room enough.
func (m *model) verify(t *rapid.T) {
	a := m.peers[0].a
	mustCheck(t, a)
	mustCount(t, a, uint64(len(m.blocks)))
	if s, err := a.Stats(); err != nil || s.Arenas < uint64(len(m.arenas)) {
		t.Fatalf("%d arenas, of which %d are published: %v", s.Arenas, len(m.arenas), err)
	}
	for _, b := range m.blocks[:min(len(m.blocks), 50)] {
		if n, err := a.usableSize(b.off); err != nil || n < b.size {
			t.Fatalf("block of %d bytes at %#x has %d: %v", b.size, b.off, n, err)
		}
	}
}
