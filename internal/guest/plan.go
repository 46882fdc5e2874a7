package guest

import "time"

// PlanPath is where the first process of a guest finds its Plan, as JSON.
const PlanPath = "/plan.json"

// Marker begins the lines of the first process on the console.
const Marker = "@guest "

// Plan is what the first process of a guest does.
type Plan struct{ Steps []Step }

// Step is a program to run in a guest.
type Step struct {
	Name    string        // for people and for Result.Step; without spaces
	Args    []string      // the program's path and its arguments
	Env     []string      // in addition to PATH, HOME and TMPDIR
	Dir     string        // working directory; "" is /
	Timeout time.Duration // after which it is killed; 0 is none
}
