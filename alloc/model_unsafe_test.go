package alloc

import (
	"bytes"
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
			"private": m.private,
			"publish": m.publish,
			"sample":  m.sample,
			"arena":   m.arena,
			"forget":  m.forget,
			"free":    m.free,
			"exact":   m.exact,
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
	doomed int          // private blocks of dead peers, in use until somebody recovers
}

type modelPeer struct {
	a      *Allocator
	member *member
	caches []*Cache
}

type modelBlock struct {
	off, size uint64
	owner     *Cache // that a private block dies with
	guard     *Cache // careful, and alone to know of the bytes behind a block of its own
}

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
	p := m.peer(t)
	if len(p.caches) == 3 {
		return
	}
	c, err := p.a.NewCacheOptions(&CacheOptions{Careful: rapid.Bool().Draw(t, "careful")})
	if err != nil {
		t.Fatal(err)
	}
	p.caches = append(p.caches, c)
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
	m.bury(p.caches[last:])
	p.caches = p.caches[:last]
}

func (m *model) die(t *rapid.T) {
	if len(m.peers) == 1 {
		return
	}
	i := rapid.IntRange(0, len(m.peers)-1).Draw(t, "victim")
	m.peers[i].member.die()
	m.doomed += m.bury(m.peers[i].caches)
	m.peers = slices.Delete(m.peers, i, i+1)
}

func (m *model) recover(t *rapid.T) {
	if _, err := m.peer(t).a.Recover(); err != nil {
		t.Fatal(err)
	}
	m.doomed = 0
}

// bury drops the blocks that are private to the caches and returns how many.
func (m *model) bury(caches []*Cache) int {
	for i := range m.blocks {
		if slices.Contains(caches, m.blocks[i].guard) {
			m.blocks[i].guard = nil
		}
	}
	before := len(m.blocks)
	m.blocks = slices.DeleteFunc(m.blocks, func(b modelBlock) bool { return slices.Contains(caches, b.owner) })
	return before - len(m.blocks)
}

func (m *model) trim(t *rapid.T) {
	if _, err := m.peer(t).a.Trim(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) alloc(t *rapid.T) {
	c := m.pick(t)
	size := guardedSize(c, modelSize(t, 0))
	align := rapid.SampledFrom([]uint64{1, 1, 1, 64, 4096, 64 << 10, 256 << 10}).Draw(t, "align")
	m.addAligned(t, c, size, align)
}

func modelSize(t *rapid.T, least uint64) uint64 {
	return rapid.OneOf(rapid.Uint64Range(least, 512), rapid.Uint64Range(least, 40_000), rapid.Uint64Range(least, 2<<20)).Draw(t, "size")
}

// guardedSize makes blocks in front of a guard as large as fillBlock fills them.
func guardedSize(c *Cache, size uint64) uint64 {
	if c.careful != nil {
		return max(size, 16)
	}
	return size
}

// private allocates a block that dies with its cache.
func (m *model) private(t *rapid.T) {
	c, size := m.pick(t), modelSize(t, 0)
	off, err := c.allocPrivate(size)
	if errors.Is(err, ErrNoSpace) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	fillBlock(c.a, off, size)
	m.blocks = append(m.blocks, modelBlock{off: off, size: size, owner: c})
}

// publish makes a block live on, private or not, by any peer.
func (m *model) publish(t *rapid.T) {
	if len(m.blocks) == 0 {
		return
	}
	b := &m.blocks[rapid.IntRange(0, len(m.blocks)-1).Draw(t, "block")]
	if err := m.peer(t).a.publish(b.off); err != nil {
		t.Fatal(err)
	}
	b.owner = nil
}

// sample changes how many blocks are samples.
func (m *model) sample(t *rapid.T) {
	rate := rapid.SampledFrom([]uint64{0, 1, 1000, 100_000}).Draw(t, "rate")
	if err := m.peer(t).a.SetProfileRate(rate); err != nil {
		t.Fatal(err)
	}
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
	m.blocks = append(m.blocks, shared(c, off, size))
}

// shared is a block that the cache has just allocated.
func shared(c *Cache, off, size uint64) modelBlock {
	b := modelBlock{off: off, size: size}
	if _, guarded := c.guarded(off); guarded {
		b.guard = c
	}
	return b
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
	m.blocks = append(m.blocks, shared(c, off, size))
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
			blocks = append(blocks, modelBlock{off: off, size: size})
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

// realloc makes a block shorter or longer, by any cache: what fits of its bytes stays. A private block stays
// private, to the cache that it moves to, unless a word leads to it.
func (m *model) realloc(t *rapid.T) {
	if len(m.blocks) == 0 {
		return
	}
	b := &m.blocks[rapid.IntRange(0, len(m.blocks)-1).Draw(t, "block")]
	c := m.pick(t)
	size := guardedSize(c, modelSize(t, 1))
	if b.guard != nil && b.guard != c {
		return
	}
	before := slices.Clone(c.a.memory.Bytes(b.off, min(b.size, size)))
	how, into := c.realloc, rapid.Bool().Draw(t, "into")
	if into {
		how = func(off, size uint64) (uint64, error) { return reallocByWord(t, c, off, size) }
	}
	off, err := how(b.off, size)
	if errors.Is(err, ErrNoSpace) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.a.memory.Bytes(off, uint64(len(before))), before) {
		t.Fatalf("%d bytes at %#x, reallocated to %d at %#x, are not what they were", b.size, b.off, size, off)
	}
	if off != b.off && b.owner != nil {
		b.owner = c
		if into {
			b.owner = nil
		}
	}
	b.off, b.size, b.guard = off, size, shared(c, off, size).guard
	fillBlock(c.a, off, size)
}

// reallocByWord is reallocInto for a word that is there for the moment.
func reallocByWord(t *rapid.T, c *Cache, off, size uint64) (uint64, error) {
	at, err := c.alloc(8)
	if err != nil {
		return 0, err
	}
	w := c.a.memory.Word(at)
	w.StoreRelease(c.a.address(off))
	err = c.reallocInto(at, size)
	off = w.Load() - c.a.address(0)
	mustFree(t, c, at)
	return off, err
}

// exact allocates into a word and perhaps frees from there, by another cache.
func (m *model) exact(t *rapid.T) {
	c, size := m.pick(t), modelSize(t, 0)
	at, err := c.alloc(8)
	if errors.Is(err, ErrNoSpace) {
		return
	}
	w := c.a.memory.Word(at)
	w.StoreRelease(0)
	if err == nil {
		err = c.allocInto(at, size)
	}
	off, found := w.Load()-c.a.address(0), w.Load() != 0
	if found && rapid.Bool().Draw(t, "free") {
		if err = m.pick(t).freeFrom(at); w.Load() != 0 {
			t.Fatalf("%v, and the word leads to a block still", err)
		}
	} else if found {
		fillBlock(c.a, off, size)
		m.blocks = append(m.blocks, modelBlock{off: off, size: size})
	}
	if err != nil && !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	mustFree(t, c, at)
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
	s, err := a.Stats()
	if n := int(s.Live) - len(m.blocks); err != nil || n < 0 || n > m.doomed {
		t.Fatalf("%d blocks are in use, want %d and at most %d of the dead: %v", s.Live, len(m.blocks), m.doomed, err)
	}
	if s.Arenas < uint64(len(m.arenas)) {
		t.Fatalf("%d arenas, of which %d are published", s.Arenas, len(m.arenas))
	}
	for _, b := range m.blocks[:min(len(m.blocks), 50)] {
		if n, err := a.usableSize(b.off); err != nil || n < b.size {
			t.Fatalf("block of %d bytes at %#x has %d: %v", b.size, b.off, n, err)
		}
	}
}
