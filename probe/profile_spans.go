package probe

import (
	"cmp"
	"math"
	"slices"
)

// A piece is a range that one run occupied.
type piece struct {
	Range
	run int
}

const (
	// With fewer runs, which places a range took says too little about those it can take.
	runsForSpans = 20
	// So improbable a gap, among pieces at uniformly random places, shows that the pieces on its two
	// sides are not the same thing. A narrow one is not worth showing: a heap would not go there.
	gapRisk, narrowGap = 1e-6, 16 << 30
	// Bounds the work for what was read from a file.
	maxSpans = 256
)

// summarise finds what the runs have in common: the ranges that all of them occupied are fixed, and the
// rest falls into random spans.
func summarise(runs [][]Range) []Occupied {
	fixed := common(runs)
	var all []Occupied
	for _, r := range fixed {
		all = append(all, Occupied{Range: r, Runs: len(runs)})
	}
	var pieces []piece
	for i, run := range runs {
		for _, r := range run {
			for _, left := range fixed.gaps(r) {
				pieces = append(pieces, piece{left, i})
			}
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.run, b.run))
	})
	return append(all, spans(pieces, len(runs))...)
}

// common returns the addresses that every run occupied. One run alone has nothing in common with others.
func common(runs [][]Range) rangeSet {
	if len(runs) < 2 {
		return nil
	}
	set := rangeSet(runs[0])
	for _, run := range runs[1:] {
		set = set.and(run)
	}
	return set
}

// and returns the addresses that are in both sets.
func (s rangeSet) and(o rangeSet) rangeSet {
	var both rangeSet
	for i, j := 0, 0; i < len(s) && j < len(o); {
		if r := (Range{max(s[i].Start, o[j].Start), min(s[i].End, o[j].End)}); r.Start < r.End {
			both = append(both, r)
		}
		if s[i].End < o[j].End {
			i++
		} else {
			j++
		}
	}
	return both
}

// spans divides the pieces, ascending, where a gap between them is too wide for chance. It begins with
// the widest gap, and goes on in the two parts.
func spans(pieces []piece, runs int) []Occupied {
	var done []Occupied
	for rest := [][]piece{pieces}; len(rest) > 0; {
		part := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		if len(part) == 0 {
			continue
		}
		at, gap := widestGap(part)
		if gap > 0 && len(rest)+len(done) < maxSpans && tooWide(part, at, gap, runs) {
			rest = append(rest, part[at:], part[:at])
			continue
		}
		done = append(done, Occupied{Range: hull(part), Runs: distinct(part, runs), Random: true})
	}
	return done
}

// widestGap returns the widest gap between the pieces, and the index of the first piece behind it.
func widestGap(part []piece) (at int, gap uint64) {
	end := part[0].End
	for i, p := range part {
		if p.Start > end && p.Start-end > gap {
			at, gap = i, p.Start-end
		}
		end = max(end, p.End)
	}
	return at, gap
}

// hull returns the range from the start of the first piece to where the last one ends.
func hull(part []piece) Range {
	r := part[0].Range
	for _, p := range part {
		r.End = max(r.End, p.End)
	}
	return r
}

// tooWide reports whether the gap in front of part[at] is improbable if the pieces on both sides, or
// those of one side, are at random places in a range that includes the gap. Of a side that few runs
// have a piece in, nothing is concluded; of few runs in all, everything.
func tooWide(part []piece, at int, gap uint64, runs int) bool {
	if runs < runsForSpans || gap < narrowGap {
		return runs < runsForSpans
	}
	all := hull(part)
	if chance(distinct(part, runs), all.Size()-gap, gap) < gapRisk {
		return true
	}
	for _, side := range [][]piece{part[:at], part[at:]} {
		if m := distinct(side, runs); m >= runsForSpans/2 && chance(m, hull(side).Size(), gap) < gapRisk {
			return true
		}
	}
	return false
}

// chance bounds the probability that m random points leave some gap of that width: they have room for
// size more. What one run has there counts as one point, because most of it moves together.
func chance(m int, size, gap uint64) float64 {
	return float64(m+1) * math.Pow(float64(size)/(float64(size)+float64(gap)), float64(m))
}

// distinct counts the runs that have a piece in the part.
func distinct(part []piece, runs int) int {
	seen := make([]bool, runs)
	n := 0
	for _, p := range part {
		if !seen[p.run] {
			seen[p.run] = true
			n++
		}
	}
	return n
}
