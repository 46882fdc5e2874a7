package picture

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/heap"
)

const g = live.Granule

func example() *Map {
	owner := heap.MakePeerID(3, 1)
	spans := []alloc.Span{
		{Kind: alloc.SpanTables, Bytes: 4 * g, Committed: 4 * g, UsedBytes: 4 * g},
		{Kind: alloc.SpanSlab, Offset: 4 * g, Bytes: g, Committed: g, BlockSize: 64, Blocks: 1024, Used: 512, UsedBytes: g / 2, Owner: owner},
		{Kind: alloc.SpanLarge, Offset: 5 * g, Bytes: 2 * g, Committed: 2 * g, Blocks: 1, Used: 1, UsedBytes: 2 * g},
		{Kind: alloc.SpanDamaged, Offset: 7 * g, Bytes: g},
		{Kind: alloc.SpanFree, Offset: 8 * g, Bytes: 100 * g, Committed: g},
	}
	return &Map{
		Title: "heap <orders>", Words: []string{"half & half"}, Used: 8 * g, Base: 0x550000000000,
		Owners: map[heap.PeerID]string{owner: `evil</title><script>"&'`},
		Spans: func(yield func(alloc.Span) bool) {
			for _, s := range spans {
				if !yield(s) {
					return
				}
			}
		},
	}
}

// TestSVG: it is well-formed whatever peers call themselves, and tells of every granule.
func TestSVG(t *testing.T) {
	var out bytes.Buffer
	if err := example().SVG(&out); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	titles := 0
	var text strings.Builder
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			counts[x.Name.Local]++
		case xml.CharData:
			text.Write(x)
			if bytes.HasPrefix(x, []byte("granule ")) {
				titles++
			}
		}
	}
	if titles != 8 || counts["script"] != 0 || counts["g"] != 8 {
		t.Errorf("%d granules, %v", titles, counts)
	}
	for _, want := range []string{
		"granule 4 at 0x550000040000: slab of 64 KiB, 512 of 1024 blocks of 64 bytes in use; owner 3.1 evil</title>",
		"large block of 128 KiB", "half & half", "heap <orders>", "damaged",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}

// TestPNG: the granules have the colours of what they are.
func TestPNG(t *testing.T) {
	var out bytes.Buffer
	m := example()
	if err := m.PNG(&out); err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	top := m.begin().top
	at := func(granule int, up float64) color.Color {
		x, y := int(margin+labels+float64(granule)*cellSize+6), int(top+cellSize-cellGap-up)
		return picture.At(x, y)
	}
	for granule, want := range map[int]color.RGBA{0: colours[alloc.SpanTables], 5: colours[alloc.SpanLarge], 7: colours[alloc.SpanDamaged]} {
		if got := at(granule, 3); got != want {
			t.Errorf("granule %d is %v, want %v", granule, got, want)
		}
	}
	full, empty := shade(&alloc.Span{Kind: alloc.SpanSlab, BlockSize: 64})
	if at(4, 3) != full || at(4, 11) != empty {
		t.Errorf("a slab that is half full is %v below and %v above", at(4, 3), at(4, 11))
	}
}

// TestMany: a heap of more granules than there are cells has several in each.
func TestMany(t *testing.T) {
	m := example()
	m.Used = 5 * columns * maxRows * g
	m.Spans = func(yield func(alloc.Span) bool) {
		yield(alloc.Span{Kind: alloc.SpanLarge, Bytes: m.Used, UsedBytes: m.Used})
	}
	if d := m.begin(); d.each != 5 || d.rows != maxRows {
		t.Errorf("%d granules a cell, %d rows", d.each, d.rows)
	}
	if err := m.PNG(io.Discard); err != nil {
		t.Error(err)
	}
}
