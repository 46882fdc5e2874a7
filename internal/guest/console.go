package guest

import (
	"fmt"
	"strings"
	"time"
)

// Result is what a guest did.
type Result struct {
	Steps    []StepResult
	Boot     []string // all that the kernel has logged before the first step
	Boots    int      // how often it was booted, 1 but for crashes and hangs before the first process
	begun    bool     // the first process has said something
	complete bool
	console  []string
	said     []string // by the kernel, as the first process repeats it
	raw      []string // by the kernel, on the console
}

// StepResult is how a step ended.
type StepResult struct {
	Name     string
	Status   int // as a shell shows it; -1 when the guest ended before it did
	Late     bool
	Duration time.Duration
	Output   string   // with what the kernel wrote to the console meanwhile: what is urgent
	Kernel   []string // all that the kernel has logged meanwhile
}

// Step returns how the step of that name ended.
func (r *Result) Step(name string) (StepResult, bool) {
	for _, s := range r.Steps {
		if s.Name == name {
			return s, true
		}
	}
	return StepResult{}, false
}

// Trouble returns the lines in which the kernel complains of itself, in the whole run. Of data races those
// in one of the modules count, which may be none: see Complaints.
func (r *Result) Trouble(modules ...string) []string {
	lines := r.said
	if !r.complete { // the kernel's last words have not been repeated
		lines = append(lines[:len(lines):len(lines)], r.raw...)
	}
	return Complaints(lines, modules)
}

// tail returns the last lines of the console.
func (r *Result) tail() string {
	const most = 60
	return strings.Join(r.console[max(0, len(r.console)-most):], "\n")
}

// console takes what the guest prints.
type console struct {
	begin func() // called at the first line of the first process
	tell  func(string)
	rest  string // of a line that is not complete
	r     Result
}

func (c *console) Write(p []byte) (int, error) {
	lines := strings.Split(c.rest+string(p), "\n")
	for _, line := range lines[:len(lines)-1] {
		c.line(strings.TrimRight(line, "\r"))
	}
	c.rest = lines[len(lines)-1]
	return len(p), nil
}

func (c *console) line(line string) {
	c.r.console = append(c.r.console, line)
	if c.tell != nil {
		c.tell(line)
	}
	if text, ours := strings.CutPrefix(line, Marker); ours {
		if !c.r.begun && c.begin != nil {
			c.begin()
		}
		c.r.begun = true
		c.note(text)
		return
	}
	var step *StepResult
	if last := len(c.r.Steps) - 1; last >= 0 && c.r.Steps[last].Status < 0 {
		step = &c.r.Steps[last]
	}
	text, repeated, kernel := kernelText(line)
	switch {
	case repeated:
		c.r.said = append(c.r.said, text)
		if len(c.r.Steps) == 0 {
			c.r.Boot = append(c.r.Boot, text)
		}
	case kernel:
		c.r.raw = append(c.r.raw, text)
	}
	if step != nil && repeated {
		step.Kernel = append(step.Kernel, text)
	} else if step != nil {
		step.Output += line + "\n"
	}
}

// note takes a line of the first process.
func (c *console) note(text string) {
	var name string
	var status int
	var milliseconds int64
	last := len(c.r.Steps) - 1
	if _, err := fmt.Sscanf(text, "step %s", &name); err == nil {
		c.r.Steps = append(c.r.Steps, StepResult{Name: name, Status: -1})
	} else if _, err := fmt.Sscanf(text, "end %s %d %d", &name, &status, &milliseconds); err == nil && last >= 0 {
		c.r.Steps[last].Status, c.r.Steps[last].Duration = status, time.Duration(milliseconds)*time.Millisecond
	} else if _, err := fmt.Sscanf(text, "late %s", &name); err == nil && last >= 0 {
		c.r.Steps[last].Late = true
	} else if text == "done" {
		c.r.complete = true
	}
}

// result returns what was seen until now.
func (c *console) result() *Result {
	if c.rest != "" {
		c.line(c.rest)
		c.rest = ""
	}
	return &c.r
}
