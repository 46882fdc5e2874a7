package main

// doctorJSON is what "doctor --json" prints.
type doctorJSON struct {
	Fine  bool       `json:"fine"`  // nothing is bad
	Facts []factJSON `json:"facts"` // what was looked at
}

// factJSON is one thing that was looked at.
type factJSON struct {
	Name    string `json:"name"`
	State   string `json:"state"`   // good, note or bad
	Value   string `json:"value"`   // what is the case
	Meaning string `json:"meaning"` // what that means for shared heaps
	Remedy  string `json:"remedy"`  // how to mend it, "" where there is nothing to be mended
}

// States of a fact.
const (
	factGood = "good"
	factNote = "note" // works, with something less
	factBad  = "bad"
)
