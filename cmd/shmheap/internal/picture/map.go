package picture

import (
	"fmt"
	"image/color"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/heap"
)

// Map is a heap to be drawn.
type Map struct {
	Title  string   // above it
	Words  []string // below the title
	Used   uint64   // bytes from the base on that are drawn
	Base   uint64   // address of the heap
	Spans  func(func(alloc.Span) bool)
	Owners map[heap.PeerID]string // what to call those that own something
}

// Measures of a drawing in pixels.
const (
	columns   = 64 // granules a row
	cellSize  = 14.0
	cellGap   = 1.0
	margin    = 16.0
	labels    = 120.0 // of the addresses
	lineSize  = 17.0
	maxRows   = 256 // beyond that a cell is several granules
	mostNames = 12  // owners with a colour of their own
)

var (
	ink   = color.RGBA{0x22, 0x22, 0x22, 0xff}
	faint = color.RGBA{0x77, 0x77, 0x77, 0xff}
	white = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

// colours of what a granule is. Slabs have one for their class: see shade.
var colours = map[alloc.SpanKind]color.RGBA{
	alloc.SpanTables:  {0x8a, 0x93, 0x9e, 0xff},
	alloc.SpanFree:    {0xec, 0xee, 0xf1, 0xff},
	alloc.SpanClaimed: {0xf9, 0xa8, 0x25, 0xff},
	alloc.SpanSlab:    {0x1e, 0x6f, 0xc0, 0xff},
	alloc.SpanLarge:   {0x6a, 0x3d, 0x9a, 0xff},
	alloc.SpanArena:   {0x2e, 0x7d, 0x32, 0xff},
	alloc.SpanChunk:   {0x2e, 0x7d, 0x32, 0xff},
	alloc.SpanDamaged: {0xd3, 0x2f, 0x2f, 0xff},
}

// kept is a free granule that has storage.
var kept = color.RGBA{0xc5, 0xcb, 0xd3, 0xff}

// names are what the legend says.
var names = []struct {
	kind alloc.SpanKind
	text string
}{
	{alloc.SpanTables, "tables"}, {alloc.SpanSlab, "slab, darker for larger blocks"}, {alloc.SpanLarge, "large block"},
	{alloc.SpanArena, "arena"}, {alloc.SpanClaimed, "claimed"}, {alloc.SpanFree, "free"}, {alloc.SpanDamaged, "damaged"},
}

// palette is of the owners: the stripe at a cell's left.
var palette = []color.RGBA{
	{0xe6, 0x19, 0x4b, 0xff}, {0xff, 0xb3, 0x00, 0xff}, {0x00, 0xbc, 0xd4, 0xff}, {0x7c, 0xb3, 0x42, 0xff},
	{0xf0, 0x62, 0x92, 0xff}, {0x79, 0x55, 0x48, 0xff}, {0x00, 0x79, 0x6b, 0xff}, {0xba, 0x68, 0xc8, 0xff},
	{0xff, 0x70, 0x43, 0xff}, {0x5c, 0x6b, 0xc0, 0xff}, {0xaf, 0xb4, 0x2b, 0xff}, {0x45, 0x5a, 0x64, 0xff},
}

// SVG writes the picture as a drawing; what each granule is is the title of its cell, which viewers show on demand.
func (m *Map) SVG(w io.Writer) error {
	d := m.begin()
	s := newSVG(d.width, d.height, m.Title)
	d.draw(s)
	return s.writeTo(w)
}

// PNG writes the picture as pixels.
func (m *Map) PNG(w io.Writer) error {
	d := m.begin()
	b := newBitmap(d.width, d.height)
	d.draw(b)
	return b.writeTo(w)
}

// drawing is a Map on its way to a canvas.
type drawing struct {
	*Map
	owners        []heap.PeerID // that have a colour
	each          uint64        // granules a cell
	rows          int
	top           float64 // of the cells
	width, height int
}

func (m *Map) begin() *drawing {
	granules := max((m.Used+live.Granule-1)/live.Granule, 1)
	d := &drawing{Map: m, each: (granules + columns*maxRows - 1) / (columns * maxRows)}
	cells := (granules + d.each - 1) / d.each
	d.rows = int((cells + columns - 1) / columns)
	for s := range m.Spans {
		if s.Owner != 0 && len(d.owners) < mostNames && !slices.Contains(d.owners, s.Owner) {
			d.owners = append(d.owners, s.Owner)
		}
	}
	d.top = margin + 2*lineSize + float64(len(m.Words))*lineSize + 3*lineSize + float64((len(d.owners)+3)/4)*lineSize
	d.width = int(2*margin + labels + columns*cellSize)
	d.height = int(d.top + float64(d.rows)*cellSize + margin)
	return d
}

func (d *drawing) draw(c canvas) {
	c.rect(0, 0, float64(d.width), float64(d.height), white)
	y := margin + lineSize
	c.text(margin, y, 18, ink, d.Title)
	for _, line := range d.Words {
		y += lineSize
		c.text(margin, y+4, 12, ink, line)
	}
	d.legend(c, y+lineSize+8)
	for row := range d.rows {
		at := d.Base + uint64(row)*columns*d.each*live.Granule
		c.text(margin, d.top+float64(row)*cellSize+11, 10, faint, fmt.Sprintf("%#x", at))
	}
	d.cells(c)
}

func (d *drawing) legend(c canvas, y float64) {
	x := margin
	for _, n := range names {
		c.rect(x, y-10, 11, 11, colours[n.kind])
		c.text(x+16, y, 12, ink, n.text)
		x += 34 + 6.6*float64(len(n.text))
	}
	c.rect(x, y-10, 11, 11, kept)
	c.text(x+16, y, 12, ink, "free, with storage")
	y += lineSize
	each := "one granule of 64 KiB"
	if d.each > 1 {
		each = humanize.Comma(int64(d.each)) + " granules of 64 KiB"
	}
	c.text(margin, y, 12, faint, "A cell is "+each+", filled from below as far as it is in use; the stripe is the owner's.")
	for i, id := range d.owners {
		if i%4 == 0 {
			y += lineSize
		}
		x := margin + float64(i%4)*240
		c.rect(x, y-10, 4, 11, palette[i])
		c.text(x+10, y, 12, ink, shorten(d.call(id), 34))
	}
}

// call names an owner.
func (d *drawing) call(id heap.PeerID) string {
	if name := d.Owners[id]; name != "" {
		return id.String() + " " + name
	}
	return id.String() + " gone"
}

func shorten(s string, n int) string {
	letters := []rune(s)
	if len(letters) <= n {
		return s
	}
	return string(letters[:n-1]) + "…"
}

// cells draws the spans. Where a cell is several granules, the span at its begin stands for all.
func (d *drawing) cells(c canvas) {
	step := d.each * live.Granule
	for s := range d.Spans {
		if s.Offset >= d.Used {
			return
		}
		for at := (s.Offset + step - 1) / step * step; at < min(s.Offset+s.Bytes, d.Used); at += step {
			d.cell(c, int(at/step), &s, at)
		}
	}
}

func (d *drawing) cell(c canvas, i int, s *alloc.Span, at uint64) {
	x := margin + labels + float64(i%columns)*cellSize
	y := d.top + float64(i/columns)*cellSize
	side := cellSize - cellGap
	full, empty := shade(s)
	c.group(d.facts(s, at))
	c.rect(x, y, side, side, empty)
	if h := float64(int(side*float64(s.UsedBytes)/float64(s.Bytes) + 0.5)); h > 0 {
		c.rect(x, y+side-h, side, h, full)
	}
	if i := slices.Index(d.owners, s.Owner); s.Owner != 0 && i >= 0 {
		c.rect(x, y, 3, side, palette[i])
	}
	c.end()
}

// shade returns the colours of what is in use of a span, and of the rest of it.
func shade(s *alloc.Span) (full, empty color.RGBA) {
	full = colours[s.Kind]
	switch s.Kind {
	case alloc.SpanFree:
		if s.Committed > 0 {
			full = kept
		}
		return full, full
	case alloc.SpanClaimed, alloc.SpanDamaged, alloc.SpanTables:
		return full, full
	case alloc.SpanSlab:
		t := 0.0
		for size := uint64(16); size < s.BlockSize; size *= 2 {
			t += 1.0 / 11 // there are 11 doublings up to 32 KiB
		}
		full = mix(color.RGBA{0x64, 0xb5, 0xf6, 0xff}, color.RGBA{0x0d, 0x2f, 0x6b, 0xff}, t)
	}
	return full, mix(full, white, 0.75)
}

func mix(a, b color.RGBA, t float64) color.RGBA {
	of := func(x, y uint8) uint8 { return uint8(float64(x) + (float64(y)-float64(x))*t) }
	return color.RGBA{of(a.R, b.R), of(a.G, b.G), of(a.B, b.B), 0xff}
}

// facts says what a granule is.
func (d *drawing) facts(s *alloc.Span, at uint64) string {
	facts := []string{fmt.Sprintf("granule %d at %#x: %s", at/live.Granule, d.Base+at, Describe(s))}
	if s.Owner != 0 {
		facts = append(facts, "owner "+d.call(s.Owner))
	}
	return strings.Join(facts, "; ")
}

// Describe says what a span is in one line.
func Describe(s *alloc.Span) string {
	size := humanize.IBytes
	text := string(s.Kind)
	switch s.Kind {
	case alloc.SpanFree:
		text = fmt.Sprintf("free, %s, %s with storage", size(s.Bytes), size(s.Committed))
	case alloc.SpanSlab:
		text = fmt.Sprintf("slab of %s, %d of %d blocks of %d bytes in use", size(s.Bytes), s.Used, s.Blocks, s.BlockSize)
	case alloc.SpanLarge:
		text = "large block of " + size(s.Bytes)
	case alloc.SpanArena, alloc.SpanChunk:
		text = fmt.Sprintf("%s, %s of %s in use", s.Kind, size(s.UsedBytes), size(s.Bytes))
	case alloc.SpanTables:
		text = fmt.Sprintf("tables, %s with storage", size(s.Committed))
	}
	if s.Private {
		text += ", private"
	}
	if s.Sampled {
		text += ", in the profile"
	}
	return text
}
