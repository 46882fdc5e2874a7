package guest

import "time"

// PlanPath is where the first process of a guest finds its Plan, as JSON.
const PlanPath = "/plan.json"

// Marker begins the lines of the first process on the console.
const Marker = "@guest "

// Plan is what the first process of a guest does.
type Plan struct{ Steps []Step }

// Tool is the program in every guest that does what has no program of its own, as the first argument says:
//
//	insert FILE [NAME=VALUE...]   inserts a module
//	remove NAME                   removes it
//	write FILE TEXT               writes to a file that is there
//	forget                        makes kmemleak forget what it knows
//	leaks                         makes kmemleak scan twice and prints what it says
const Tool = "/init"

// Insert returns the step that inserts a module.
func Insert(name string, parameters ...string) Step {
	return Step{Name: "insert-" + name, Args: append([]string{Tool, "insert", ModulePath(name)}, parameters...)}
}

// Remove returns the step that removes a module.
func Remove(name string) Step {
	return Step{Name: "remove-" + name, Args: []string{Tool, "remove", name}}
}

// Step is a program to run in a guest.
type Step struct {
	Name    string        // for people and for Result.Step; without spaces
	Args    []string      // the program's path and its arguments
	Env     []string      // in addition to PATH, HOME and TMPDIR
	Dir     string        // working directory; "" is /
	Timeout time.Duration // after which it is killed; 0 is none
}
