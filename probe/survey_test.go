package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	few := [][]Mapping{{{Range: Range{0, 1}}}}
	more := [][]Mapping{{{Range: Range{0, 1}}, {Range: Range{2, 3}}}}
	idle := reading{processes: few, blocked: true}
	const settle = 50 * time.Millisecond
	for _, test := range []struct {
		name     string
		readings []reading // 20 ms apart
		want     int       // which of them is quiet, -1 for none
	}{
		{"at once", []reading{idle, idle, idle, idle, idle}, 3},
		{"runs", []reading{{processes: few}, {processes: few}, {processes: few}, {processes: few}, {processes: few}}, -1},
		{"runs first", []reading{{processes: few}, idle, idle, idle, idle}, 4},
		{"wakes up", []reading{idle, idle, idle, {processes: few}, idle, idle, idle, idle}, 7},
		{"maps", []reading{idle, idle, {processes: more, blocked: true}, {processes: more, blocked: true}, {processes: more, blocked: true}, {processes: more, blocked: true}}, 5},
		{"works between", []reading{idle, {few, 2, true, false}, {few, 4, true, false}, {few, 6, true, false}, {few, 8, true, false}}, -1},
		{"a tick", []reading{idle, {few, 1, true, false}, {few, 1, true, false}, {few, 1, true, false}}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			var q quiet
			got := -1
			for i, r := range test.readings {
				if q.after(r, time.Unix(0, int64(i)*int64(20*time.Millisecond)), settle) {
					got = i
					break
				}
			}
			if got != test.want {
				t.Errorf("quiet at %d, want %d", got, test.want)
			}
		})
	}
}

// However many readings there are, the time must pass.
func TestQuietTakesItsTime(t *testing.T) {
	var q quiet
	for i := range 100 {
		quiet := q.after(reading{blocked: true}, time.Unix(0, int64(i)*int64(time.Millisecond)), 50*time.Millisecond)
		if quiet != (i >= 50) {
			t.Fatalf("after %d ms: %t", i, quiet)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail tail
	for i := range 1000 {
		fmt.Fprintf(&tail, "line %d\n", i)
	}
	if got := tail.String(); len(got) > 500 || !strings.HasSuffix(got, "line 998 line 999") {
		t.Errorf("%q", got)
	}
}

func TestSurveyOptions(t *testing.T) {
	var none *SurveyOptions
	if got := none.orDefault(); got.Runs != 200 || got.Parallel < 2 || got.Settle != 50*time.Millisecond || got.Limit != 10*time.Second {
		t.Errorf("%+v", got)
	}
	given := &SurveyOptions{Runs: 1, Parallel: 2, Settle: 3, Limit: 4}
	if got := given.orDefault(); got.Runs != 1 || got.Parallel != 2 || got.Settle != 3 || got.Limit != 4 {
		t.Errorf("%+v", got)
	}
}
