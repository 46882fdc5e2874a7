package live

import (
	"github.com/shmheap/shmheap/alloc"
)

// Granule is the unit of the region in bytes.
const Granule = 64 << 10

// addSpans walks the region once for the sums, and once more for the cells.
func (w *Watcher) addSpans(s *Snapshot, cells int) {
	for span := range w.heap.Spans {
		s.Spaces.Add(span)
	}
	if cells > 0 {
		s.Cells, s.CellBytes = Cells(w.heap.Spans, s.Spaces.Used, cells)
	}
}

// Add counts one more span; they come in their order.
func (t *Spaces) Add(s alloc.Span) {
	if s.Kind == alloc.SpanFree {
		t.Free, t.FreeKept, t.FreeRuns = t.Free+s.Bytes, t.FreeKept+s.Committed, t.FreeRuns+1
		t.LargestFree = max(t.LargestFree, s.Bytes)
		return
	}
	if gap := s.Offset - t.Used; gap > 0 { // what is between this one and the last that is not free
		t.FreeBetween += gap
		t.LargestGap = max(t.LargestGap, gap)
	}
	t.Used = s.Offset + s.Bytes
	switch s.Kind {
	case alloc.SpanTables:
		t.Tables += s.Bytes
	case alloc.SpanSlab:
		t.Slabs, t.SlabsUsed = t.Slabs+s.Bytes, t.SlabsUsed+s.UsedBytes
	case alloc.SpanLarge:
		t.Large += s.Bytes
	case alloc.SpanArena, alloc.SpanChunk:
		t.Arenas, t.ArenasUsed = t.Arenas+s.Bytes, t.ArenasUsed+s.UsedBytes
	case alloc.SpanClaimed:
		t.Claimed += s.Bytes
	default:
		t.Damaged += s.Bytes
	}
}

// Cells cuts the region from its begin up to end into at most n pieces of as many granules each.
func Cells(spans func(func(alloc.Span) bool), end uint64, n int) ([]Cell, uint64) {
	granules := (end + Granule - 1) / Granule
	each := max((granules+uint64(n)-1)/uint64(n), 1) * Granule
	pieces := make([]piece, (end+each-1)/each)
	for s := range spans {
		if s.Offset >= end {
			break
		}
		share := float64(s.UsedBytes) / float64(s.Bytes)
		for at := s.Offset; at < min(s.Offset+s.Bytes, end); {
			i := at / each
			next := min((i+1)*each, s.Offset+s.Bytes, end)
			pieces[i].add(s.Kind, float64(next-at), share)
			at = next
		}
	}
	cells := make([]Cell, len(pieces))
	for i := range pieces {
		cells[i] = pieces[i].cell()
	}
	return cells, each
}

// piece sums up what lies in a cell.
type piece struct {
	bytes map[alloc.SpanKind]float64
	used  float64
}

func (p *piece) add(kind alloc.SpanKind, bytes, share float64) {
	if p.bytes == nil {
		p.bytes = make(map[alloc.SpanKind]float64)
	}
	if kind == alloc.SpanChunk {
		kind = alloc.SpanArena
	}
	p.bytes[kind] += bytes
	p.used += bytes * share
}

// kinds in the order in which a tie is decided. Damage is shown however little it is.
var kinds = []alloc.SpanKind{
	alloc.SpanClaimed, alloc.SpanLarge, alloc.SpanArena, alloc.SpanSlab, alloc.SpanTables, alloc.SpanFree,
}

func (p *piece) cell() Cell {
	if p.bytes[alloc.SpanDamaged] > 0 {
		return Cell{Kind: string(alloc.SpanDamaged)}
	}
	most, all := alloc.SpanFree, 0.0
	for _, k := range kinds {
		all += p.bytes[k]
		if p.bytes[k] > p.bytes[most] {
			most = k
		}
	}
	return Cell{Kind: string(most), Fill: p.used / max(all, 1)}
}
