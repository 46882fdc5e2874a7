package probe

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestCandidatesAreWhatFindTries: the first candidate that is free here is what Find takes.
func TestCandidatesAreWhatFindTries(t *testing.T) {
	for base := range Candidates(mib, &Options{Key: "some key"}) {
		r, err := Reserve(base, mib)
		if err != nil {
			continue
		}
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
		if found := mustFind(t, mib, &Options{Key: "some key"}); found.Start != base {
			t.Errorf("Find took %v, the first free candidate is %#x", found, base)
		}
		for next := range Candidates(mib, &Options{Key: "some key", Avoid: []Range{{base + mib - 1, base + mib}}}) {
			if next == base {
				t.Errorf("%#x is not avoided", base)
			}
			break
		}
		return
	}
	t.Fatal("no candidate is free")
}

func TestCandidatesOfNothing(t *testing.T) {
	for _, size := range []uint64{0, 1, Guard + 1, 1 << 63} {
		for base := range Candidates(size, nil) {
			t.Errorf("%#x bytes at %#x", size, base)
			break
		}
	}
}

// TestGaps: a gap has room and nothing in it, and what has room lies in a gap.
func TestGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.Uint64Range(1, 200)
		draw := func(name string) Range {
			start := address.Draw(t, name) * Guard
			return Range{start, start + rapid.Uint64Range(1, 60).Draw(t, name)*Guard}
		}
		windows := []Window{{Range: draw("window")}, {Range: draw("window")}}
		var taken []Range
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			taken = append(taken, draw("taken"))
		}
		size := rapid.Uint64Range(1, 20).Draw(t, "size") * Guard
		free := gaps(windows, newRangeSet(taken), size)
		for place := uint64(0); place < 300*Guard; place += Guard {
			want := Range{place, place + size + 2*Guard}
			inside := func(r Range) bool { return r.Start <= want.Start && want.End <= r.End }
			inWindow := slices.ContainsFunc(newRangeSet([]Range{windows[0].Range, windows[1].Range}), inside)
			room := inWindow && !slices.ContainsFunc(taken, want.Overlaps)
			if got := slices.ContainsFunc(free, inside); got != room {
				t.Fatalf("%v: room %t, in a gap %t of %v", want, room, got, free)
			}
		}
	})
}
