package main

import (
	"github.com/shmheap/shmheap/probe"
)

// collisions are the estimates for one profile.
type collisions struct {
	name string
	rows []collision
}

type collision struct {
	name string
	probe.Estimate
}

// newCollisions estimates for each profile each window and the base, which
// comes last.
func newCollisions(o *outlook) []collisions {
	var all []collisions
	for _, other := range o.others {
		if other.Profile == nil {
			continue
		}
		c := collisions{name: other.Name}
		for _, w := range o.Windows {
			c.rows = append(c.rows, collision{"in " + w.Name, other.Profile.Collision(w.Range)})
		}
		if o.Base != 0 {
			c.rows = append(c.rows, collision{"at the base", other.Profile.Collision(o.Range())})
		}
		all = append(all, c)
	}
	return all
}

// probeJSON is what "probe" prints.
type probeJSON struct {
	Size       uint64          `json:"size"`
	Base       string          `json:"base"` // hexadecimal, "" where no window has room
	Windows    []windowJSON    `json:"windows"`
	Collisions []collisionJSON `json:"collisions"` // of the base
	Skipped    []skippedJSON   `json:"skipped"`
}

type windowJSON struct {
	Name       string          `json:"name"`
	Start      string          `json:"start"` // hexadecimal
	End        string          `json:"end"`
	Reason     string          `json:"reason"`
	Base       string          `json:"base"` // first candidate that is free, or ""
	LargestGap uint64          `json:"largest_gap"`
	Taken      []takenJSON     `json:"taken"`
	Collisions []collisionJSON `json:"collisions"`
}

type takenJSON struct {
	Occupant string `json:"occupant"`
	Name     string `json:"name"`
	Start    string `json:"start"`
	End      string `json:"end"`
	Random   bool   `json:"random"`
	Runs     int    `json:"runs"` // of a survey, in which it was there
}

type collisionJSON struct {
	Occupant    string  `json:"occupant"`
	Hits        int     `json:"hits"`
	Runs        int     `json:"runs"`
	Probability float64 `json:"probability"`
	Low         float64 `json:"low"` // bounds of 95 % confidence
	High        float64 `json:"high"`
}

func newProbeJSON(o *outlook) probeJSON {
	j := probeJSON{Size: o.Size, Base: hexOrNone(o.Base), Windows: []windowJSON{}, Skipped: append([]skippedJSON{}, o.skipped...)}
	for _, w := range o.Windows {
		window := windowJSON{
			Name: w.Name, Start: hex(w.Start), End: hex(w.End), Reason: w.Reason, Base: hexOrNone(w.Base),
			LargestGap: w.Largest, Taken: []takenJSON{}, Collisions: newCollisionsJSON(o.others, w.Range),
		}
		for _, t := range w.Taken {
			window.Taken = append(window.Taken, takenJSON{t.Occupant, t.Name, hex(t.Start), hex(t.End), t.Random, t.Runs})
		}
		j.Windows = append(j.Windows, window)
	}
	j.Collisions = newCollisionsJSON(o.others, o.Range())
	return j
}

func newCollisionsJSON(others []probe.Occupant, r probe.Range) []collisionJSON {
	all := []collisionJSON{}
	for _, o := range others {
		if o.Profile != nil && r.Start < r.End {
			e := o.Profile.Collision(r)
			all = append(all, collisionJSON{o.Name, e.Hits, e.Runs, e.P, e.Low, e.High})
		}
	}
	return all
}

func hexOrNone(n uint64) string {
	if n == 0 {
		return ""
	}
	return hex(n)
}
