package demo

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
)

// private is the same index, made by one goroutine out of Go maps.
type private struct {
	numbers map[string]uint32 // of the words, in lists
	lists   [][]entry
}

// Totals is what an index holds, and its digest.
type Totals struct {
	Words    uint64 `json:"words"`
	Postings uint64 `json:"postings"`
	Digest   string `json:"digest"`
}

// privateTotals indexes a corpus without the shared heap.
func privateTotals(ctx context.Context, c *corpus) (Totals, error) {
	p := private{numbers: map[string]uint32{}}
	var s scanner
	for i, path := range c.paths {
		if err := ctx.Err(); err != nil {
			return Totals{}, err
		}
		terms, err := s.file(filepath.Join(c.dir, path))
		if err != nil {
			return Totals{}, err
		}
		for _, t := range terms {
			p.add(t.text, entry{uint32(i), t.count})
		}
	}
	return p.totals(c.paths), nil
}

// add makes one posting.
func (p *private) add(text []byte, e entry) {
	n, ok := p.numbers[string(text)]
	if !ok {
		n = uint32(len(p.lists))
		p.numbers[string(text)] = n
		p.lists = append(p.lists, nil)
	}
	p.lists[n] = append(p.lists[n], e)
}

func (p *private) totals(paths []string) Totals {
	t := Totals{Words: uint64(len(p.lists))}
	d := newDigest(len(paths))
	for _, path := range paths {
		d.path(path)
	}
	for _, text := range slices.Sorted(maps.Keys(p.numbers)) {
		list := p.lists[p.numbers[text]]
		t.Postings += uint64(len(list))
		d.word(text, list)
	}
	t.Digest = d.String()
	return t
}
