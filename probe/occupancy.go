package probe

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
)

// Occupant is somebody whose addresses a heap must leave alone: a process that runs, a program that was
// surveyed, another heap. It is read-only once made, so any number of goroutines may share it.
type Occupant struct {
	Name      string     // for people, such as "process 4711 (node)"
	Obstacles []Obstacle // ascending by start; those of a program may overlap
	Profile   *Profile   // of a program that was surveyed, else nil
}

// Obstacle is a range of addresses that an occupant has, or may have.
type Obstacle struct {
	Range
	Name   string // what is there: a path, [heap], anonymous memory
	Random bool   // it was seen at various places in the range, and may be anywhere in it
	Runs   int    // of the survey, in which it was seen; 0 where there was no survey
}

// String names the obstacle and where it is.
func (o Obstacle) String() string {
	if o.Random {
		return fmt.Sprintf("%s, random in %v", o.Name, o.Range)
	}
	return fmt.Sprintf("%s %v", o.Name, o.Range)
}

// ErrForbidden: an occupant has, or may have, something in the range. The error is a *ForbiddenError.
var ErrForbidden = errors.New("range is not free elsewhere")

// ForbiddenError tells which occupant forbids a range. errors.Is(err, ErrForbidden) holds for it.
type ForbiddenError struct {
	Range     Range     // that was asked for
	Occupant  string    // its name
	Obstacle  Obstacle  // one of its obstacles that are in the way: if possible in Range, and with a name
	More      int       // how many others are
	Collision *Estimate // how probable a collision is, for a program that was surveyed
}

// Error names the range, the occupant, and what it has there.
func (e *ForbiddenError) Error() string {
	text := fmt.Sprintf("range %v is not free elsewhere: %s has %v", e.Range, e.Occupant, e.Obstacle)
	if e.More > 0 {
		text += fmt.Sprintf(" and %d more", e.More)
	}
	if e.Collision != nil {
		text += "; probability of a collision: " + e.Collision.String()
	}
	return text
}

// Unwrap returns ErrForbidden.
func (e *ForbiddenError) Unwrap() error { return ErrForbidden }

// NewOccupant makes an occupant of the mappings of a process.
func NewOccupant(name string, mappings []Mapping) Occupant {
	o := Occupant{Name: name, Obstacles: make([]Obstacle, len(mappings))}
	for i, m := range mappings {
		o.Obstacles[i] = Obstacle{Range: m.Range, Name: cmp.Or(m.Path, anonymous)}
	}
	slices.SortFunc(o.Obstacles, func(a, b Obstacle) int { return cmp.Compare(a.Start, b.Start) })
	return o
}

// anonymous stands for the path of a mapping that has none.
const anonymous = "anonymous memory"

// ProcessOccupant makes an occupant of a process that runs. The errors are those of Of.
func ProcessOccupant(pid int) (Occupant, error) {
	mappings, err := Of(pid)
	if err != nil {
		return Occupant{}, err
	}
	name := fmt.Sprintf("process %d", pid)
	if program := sys.ProcessName(pid); program != "" {
		name += fmt.Sprintf(" (%s)", printable(program))
	}
	return NewOccupant(name, withNames(mappings)), nil
}

// withNames returns the mappings of a process of this machine, ascending, with what they probably are in
// place of a path that they lack.
func withNames(mappings []Mapping) []Mapping {
	p := study(mappings, here())
	all := slices.Clone(mappings)
	for i, m := range mappings {
		if m.Path == "" {
			class := p.classify(m)
			all[i].Path = strings.TrimSpace(class.Owner + " " + string(class.Kind))
		}
	}
	return all
}

// In returns the obstacles that overlap r, in order.
func (o Occupant) In(r Range) iter.Seq[Obstacle] {
	return func(yield func(Obstacle) bool) {
		for _, obstacle := range o.Obstacles {
			if obstacle.Overlaps(r) && !yield(obstacle) {
				return
			}
		}
	}
}

// Check returns nil if no occupant has, or may have, anything in r or within a Guard of it, and a
// *ForbiddenError for the first that has. A range that a random obstacle may reach is forbidden even if
// no run of the survey did.
func Check(r Range, occupants []Occupant) error {
	wide := Range{r.Start - min(r.Start, Guard), r.End + min(math.MaxUint64-r.End, Guard)}
	for _, o := range occupants {
		in := slices.Collect(o.In(wide))
		if len(in) == 0 {
			continue
		}
		e := &ForbiddenError{Range: r, Occupant: o.Name, Obstacle: telling(in, r), More: len(in) - 1}
		if o.Profile != nil {
			collision := o.Profile.Collision(r)
			e.Collision = &collision
		}
		return e
	}
	return nil
}

// telling returns the obstacle that says most about what is in the way at r.
func telling(in []Obstacle, r Range) Obstacle {
	worth := func(o Obstacle) int {
		switch {
		case !o.Overlaps(r):
			return 0
		case o.Name == anonymous:
			return 1
		}
		return 2
	}
	return slices.MaxFunc(in, func(a, b Obstacle) int { return cmp.Compare(worth(a), worth(b)) })
}

// forbidden returns the ranges of all occupants.
func forbidden(occupants []Occupant) []Range {
	var ranges []Range
	for _, o := range occupants {
		for _, obstacle := range o.Obstacles {
			ranges = append(ranges, obstacle.Range)
		}
	}
	return ranges
}
