package probe

import (
	"errors"
	"runtime"
	"testing"
)

func TestSanitizerRanges(t *testing.T) {
	if runtime.GOOS+"/"+runtime.GOARCH != "linux/amd64" {
		if got := SanitizerRanges("AddressSanitizer"); got != nil {
			t.Errorf("%v", got)
		}
		return
	}
	first, random := Windows()[0].Range, Windows()[4].Range
	for _, s := range sanitizers {
		set := rangeSet(SanitizerRanges(s.owner))
		if set.overlaps(first) || !set.overlaps(random) || !set.overlaps(Range{1 << 48, 1<<48 + Slot}) {
			t.Errorf("%s: %v", s.owner, set)
		}
	}
	if set := rangeSet(SanitizerRanges(raceDetector)); !set.overlaps(Range{0xd0_0000_0000, 0xd1_0000_0000}) {
		t.Errorf("the heap of Go -race is missing in %v", set)
	}
	if got := SanitizerRanges(""); got != nil {
		t.Errorf("none: %v", got)
	}
}

// TestSanitizerOfThisProcess: the same test runs with the race detector and without.
func TestSanitizerOfThisProcess(t *testing.T) {
	want := ""
	if raceEnabled && runtime.GOOS+"/"+runtime.GOARCH == "linux/amd64" {
		want = raceDetector
	}
	if got, err := Sanitizer(); got != want || err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
