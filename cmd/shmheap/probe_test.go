package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shmheap/shmheap/probe"
)

// exampleOutlook has two windows, of which the second is full.
func exampleOutlook(t *testing.T) *outlook {
	run := func(base uint64) []probe.Mapping {
		return []probe.Mapping{{Range: probe.Range{Start: base, End: base + 1<<30}, Path: "/bin/server"}}
	}
	p, err := probe.NewProfile([]string{"server"}, probe.Settings{}, [][]probe.Mapping{run(0x5502_0000_0000), run(0x1000_0000), run(0x1000_0000)})
	if err != nil {
		t.Fatal(err)
	}
	many := make([]probe.Taken, 6)
	for i := range many {
		start := uint64(0x2000_0000 + i<<20)
		many[i] = probe.Taken{Occupant: "this process", Obstacle: probe.Obstacle{Range: probe.Range{Start: start, End: start + 4096}, Name: "lib.so"}}
	}
	return &outlook{
		Outlook: &probe.Outlook{Size: 1 << 30, Base: 0x5500_4000_0000, Windows: []probe.WindowState{
			{
				Window: probe.Window{Range: probe.Range{Start: 0x5500_0000_0000, End: 0x5550_0000_0000}, Name: "high", Reason: "nobody is there"},
				Base:   0x5500_4000_0000, Largest: 300 << 30,
			},
			{
				Window: probe.Window{Range: probe.Range{Start: 0x1000_0000, End: 0x3000_0000}, Name: "low", Reason: "small"},
				Taken:  many,
			},
		}},
		others:  []probe.Occupant{p.Occupant("s.json")},
		skipped: []skippedJSON{{7, "gone"}},
	}
}

const wantOutlook = `a heap of 1.0 GiB would be at 0x550040000000

   WINDOW  FROM            TO              LARGEST GAP  BASE
1  high    0x550000000000  0x555000000000      300 GiB  0x550040000000
2  low     0x10000000      0x30000000              0 B  no room

1 high: nobody is there
  nothing is in it

2 low: small
  this process: lib.so [0x20000000, 0x20001000)
  this process: lib.so [0x20100000, 0x20101000)
  this process: lib.so [0x20200000, 0x20201000)
  this process: lib.so [0x20300000, 0x20301000)
  this process: and 2 more

profile s.json (server) has something, with 95 % confidence
  in high      33.3 % (0.84 % to 90.6 %; 1 of 3 runs)
  in low       66.7 % (9.43 % to 99.2 %; 2 of 3 runs)
  at the base  0 % (at most 63.2 %; 0 of 3 runs)
`

func TestPrintOutlook(t *testing.T) {
	var out bytes.Buffer
	(&app{out: &output{Writer: &out}}).printOutlook(exampleOutlook(t))
	if diff := cmp.Diff(wantOutlook, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestOutlookAsJSON(t *testing.T) {
	j := newProbeJSON(exampleOutlook(t))
	want := []collisionJSON{{"profile s.json (server)", 0, 3, 0, 0, j.Collisions[0].High}}
	if diff := cmp.Diff(want, j.Collisions); diff != "" {
		t.Error(diff)
	}
	if len(j.Windows) != 2 || j.Windows[0].Collisions[0].Hits != 1 || j.Windows[1].Base != "" || len(j.Windows[1].Taken) != 6 {
		t.Errorf("%+v", j)
	}
	if diff := cmp.Diff([]skippedJSON{{7, "gone"}}, j.Skipped); diff != "" {
		t.Error(diff)
	}
}

func TestDoubt(t *testing.T) {
	var errOut bytes.Buffer
	p := &probe.Profile{Settings: probe.CurrentSettings(), Runs: make([][]probe.Range, 9), Unsettled: 3}
	p.Settings.Arch = "vax"
	(&app{err: &errOut}).doubt("p.json", p)
	lines := strings.Split(errOut.String(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "architecture was vax, is ") || !strings.HasSuffix(lines[1], "3 of 9 runs were not quiet at their time limit") {
		t.Errorf("%q", lines)
	}
}
