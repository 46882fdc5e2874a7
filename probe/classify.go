package probe

import "fmt"

// Kind says what a mapping is.
type Kind string

// The kinds.
const (
	KindLibrary    Kind = "library"
	KindPIE        Kind = "position-independent program"
	KindProgram    Kind = "program at a fixed address"
	KindFile       Kind = "mapped file"
	KindBrk        Kind = "brk heap"
	KindStack      Kind = "stack"
	KindKernel     Kind = "kernel page" // vdso, vvar, vsyscall
	KindGoHeap     Kind = "Go heap"
	KindJIT        Kind = "generated code"
	KindSanitizer  Kind = "sanitizer memory"
	KindJavaHeap   Kind = "Java heap"
	KindV8Heap     Kind = "V8 heap"
	KindSharedHeap Kind = "shared heap"
	KindGuard      Kind = "guard of a shared heap" // gives way to a Reserve in its process
	KindReserved   Kind = "reserved range"
	KindShared     Kind = "shared memory"
	KindAnonymous  Kind = "anonymous memory"
)

// Placement says how the address of a mapping came about.
type Placement string

// The placements: Fixed is the same at each start, so that starting again does not help; Random is
// drawn anew at each start, so that it may; of Unknown nothing can be told.
const (
	Fixed   Placement = "fixed"
	Random  Placement = "random"
	Unknown Placement = "unknown"
)

// Class is what can be told of a mapping from its place, its name and its neighbours. It is a judgement
// and no proof: memory has no label.
type Class struct {
	Kind      Kind      // what it is
	Owner     string    // who placed it, where Kind does not say: AddressSanitizer, glibc malloc
	Placement Placement // whether it will be there again
	Reason    string    // what the judgement rests on, for people

	zone zone // where Random may put it
}

// String returns kind, owner and placement: "sanitizer memory (AddressSanitizer, fixed)".
func (c Class) String() string {
	if c.Owner == "" {
		return fmt.Sprintf("%s (%s)", c.Kind, c.Placement)
	}
	return fmt.Sprintf("%s (%s, %s)", c.Kind, c.Owner, c.Placement)
}

// Classify says what m is, one of the mappings of a process of this machine; all are those mappings,
// ascending. The neighbours matter: without them an arena of Go is mere anonymous memory. Who wants to
// classify many calls Conflicts, which studies all once.
func Classify(m Mapping, all []Mapping) Class {
	return study(all, here()).classify(m)
}

// Conflict is a mapping in the way of a range.
type Conflict struct {
	Mapping Mapping // whole, also where it reaches out of the range
	Class   Class   // what it is
	// Again is the chance, from 0 to 1, that after another start of the same program something of the
	// same kind is in the way again: 1 where it is Fixed, and negative where nothing can be told. It
	// takes the program to do the same each time and the kernel's choice to be uniform.
	Again float64
}

// String returns the mapping and its class.
func (c Conflict) String() string { return fmt.Sprintf("%v, %v", c.Mapping, c.Class) }

// Conflicts returns those of the mappings of a process of this machine that overlap span, each with its
// class. all are those mappings, ascending.
func Conflicts(span Range, all []Mapping) []Conflict {
	return study(all, here()).conflicts(span)
}

func (p *process) conflicts(span Range) []Conflict {
	var found []Conflict
	for _, m := range p.all {
		if m.Overlaps(span) {
			found = append(found, Conflict{Mapping: m, Class: p.classify(m)})
		}
	}
	chances := make(map[Class]float64)
	for i, c := range found {
		chance, known := chances[c.Class]
		if !known {
			chance = p.again(span, c.Class)
			chances[c.Class] = chance
		}
		found[i].Again = chance
	}
	return found
}

// withClasses adds to a TakenError what is in the way. It reads the map of the process, so it is for
// errors that leave this package, not for each try of Find.
func withClasses(err error) error {
	taken, ok := err.(*TakenError)
	if !ok || len(taken.Mappings) == 0 {
		return err
	}
	all, readErr := Self()
	if readErr != nil {
		all = taken.Mappings
	}
	p := study(all, here())
	for _, m := range taken.Mappings {
		taken.Classes = append(taken.Classes, p.classify(m))
	}
	return err
}
