package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

const explainLong = `Say whether a process can join a heap, and if not, why. Every mapping that
lies where the heap must be is shown with what it is, whether it will be there
again when the program is started again, and what helps.

Without --pid it looks at this command itself, which is a fresh process like
any other. What a process has mapped can only be seen by its own user (or
root), and only as it is now.

Addresses that "shmheap run" or "shmheap stamp" reserved for the process are not
in its way; it takes them over when it joins. That they did is proved by what is
written there, which takes the right to trace the process.

Exit status: 0 it can join, or has joined; 1 something is in the way, or its
addresses are limited.`

const explainExample = `  shmheap explain orders
  shmheap explain orders --pid 4711
  shmheap explain orders --pid 4711 --json | jq -r '.conflicts[].kind'`

// explainJSON is what "explain --json" prints.
type explainJSON struct {
	Name      string         `json:"name"`
	Base      string         `json:"base"` // hexadecimal
	Size      uint64         `json:"size"`
	PID       int            `json:"pid"`
	Free      bool           `json:"free"`      // the process can join, or has joined
	Attached  bool           `json:"attached"`  // it has joined
	Reserved  bool           `json:"reserved"`  // the base was reserved for it when it was started
	Doubt     string         `json:"doubt"`     // why that cannot be proved, "" where there is no doubt
	Inherited bool           `json:"inherited"` // the base was reserved for a program that started it, and not for this one
	Limit     string         `json:"limit"`     // why it cannot join whatever is in the way, "" where it can
	Peers     []peerJSON     `json:"peers"`
	Conflicts []conflictJSON `json:"conflicts"`
}

type conflictJSON struct {
	Start     string   `json:"start"` // hexadecimal
	End       string   `json:"end"`   // hexadecimal
	Perms     string   `json:"perms"`
	Path      string   `json:"path"`
	Kind      string   `json:"kind"`
	Owner     string   `json:"owner"`
	Placement string   `json:"placement"` // fixed, random or unknown
	Reason    string   `json:"reason"`
	Again     *float64 `json:"again"` // chance that another start meets it again; null: not known
	Remedy    string   `json:"remedy"`
}

// errUnseen marks that the process to explain cannot be looked at.
var errUnseen = errors.New("cannot look at the process")

// unseenError is an errUnseen with the text of its reason.
type unseenError struct{ error }

func (e unseenError) Unwrap() error      { return e.error }
func (unseenError) Is(target error) bool { return target == errUnseen }

func (a *app) explainCommand() *cobra.Command {
	var pid int
	cmd := a.oneName(&cobra.Command{
		Use:     "explain NAME",
		Short:   "Say whether a process can join a heap, and what is in the way",
		Long:    explainLong,
		Example: explainExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("pid") && pid <= 0 {
				return fmt.Errorf("explain process %d: %w", pid, probe.ErrNoProcess)
			}
			return a.explain(args[0], pid)
		},
	})
	cmd.Flags().IntVar(&pid, "pid", 0, "look at the process with this `id`")
	return cmd
}

// explain prints what a process has where the heap is.
func (a *app) explain(name string, pid int) error {
	e, err := heap.Explain(name, pid, a.options())
	if errors.Is(err, probe.ErrDenied) || errors.Is(err, probe.ErrHidden) {
		return unseenError{err}
	}
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(newExplainJSON(e))
	} else {
		a.printExplanation(e)
	}
	if err == nil && !e.Free() {
		err = &reportedError{fmt.Errorf("heap %q: %w", name, cmp.Or(e.Limit, probe.ErrTaken))}
	}
	return err
}

func newExplainJSON(e *heap.Explanation) explainJSON {
	j := explainJSON{
		Name: e.Info.Name, Base: hex(e.Info.Base), Size: e.Info.Size, PID: e.PID, Free: e.Free(),
		Attached: e.Attached, Reserved: e.Reserved, Inherited: e.Inherited, Peers: []peerJSON{}, Conflicts: []conflictJSON{},
	}
	if e.Doubt != nil {
		j.Doubt = e.Doubt.Error()
	}
	if e.Limit != nil {
		j.Limit = e.Limit.Error()
	}
	for _, p := range e.Peers {
		j.Peers = append(j.Peers, newPeerJSON(p))
	}
	for _, c := range e.Conflicts {
		j.Conflicts = append(j.Conflicts, newConflictJSON(c))
	}
	return j
}

func newConflictJSON(c probe.Conflict) conflictJSON {
	j := conflictJSON{
		Start: hex(c.Mapping.Start), End: hex(c.Mapping.End), Perms: c.Mapping.Perms, Path: c.Mapping.Path,
		Kind: string(c.Class.Kind), Owner: c.Class.Owner, Placement: string(c.Class.Placement),
		Reason: c.Class.Reason, Remedy: remedy(c.Class),
	}
	if c.Again >= 0 {
		j.Again = &c.Again
	}
	return j
}

func (a *app) printExplanation(e *heap.Explanation) {
	span := probe.Range{Start: e.Info.Base, End: e.Info.Base + e.Info.Size}
	a.printf("heap %s is at %v, %s\n", e.Info.Name, span, size(e.Info.Size))
	if n := len(e.Peers); n > 0 {
		a.printf("%s attached there, so it cannot move:", plural(n, "process is", "processes are"))
		for _, p := range e.Peers {
			a.printf(" %d (%s)", p.PID, p.Program)
		}
		a.printf("\n")
	}
	switch {
	case e.Attached:
		a.printf("process %d has joined it\n", e.PID)
	case e.Reserved:
		a.printf("process %d can join it: the addresses were reserved for it when it was started\n", e.PID)
	case e.Free():
		a.printf("process %d can join it: nothing is in the way\n", e.PID)
	case len(e.Conflicts) > 0:
		a.printConflicts(e)
	}
	if e.Limit != nil {
		a.printf("process %d cannot join it: %v\n", e.PID, e.Limit)
	}
}

// printConflicts prints all mappings in the way, and each remedy once.
func (a *app) printConflicts(e *heap.Explanation) {
	if e.Doubt != nil {
		a.printf("process %d can join it if these addresses were reserved for it, but\n%v:\n\n", e.PID, e.Doubt)
	} else {
		a.printf("process %d cannot join it; in the way:\n\n", e.PID)
	}
	t := newTable(a.out, table.Row{"from", "to", "perms", "what", "at the next start", "name", "why"})
	var remedies []string
	for _, c := range e.Conflicts {
		what := string(c.Class.Kind)
		if c.Class.Owner != "" {
			what += " (" + c.Class.Owner + ")"
		}
		t.AppendRow(table.Row{hex(c.Mapping.Start), hex(c.Mapping.End), c.Mapping.Perms, what, nextStart(c), c.Mapping.Path, c.Class.Reason})
		if r := remedy(c.Class); !slices.Contains(remedies, r) {
			remedies = append(remedies, r)
		}
	}
	t.Render()
	a.printf("\n")
	if e.Inherited {
		a.printf("%s\n", a.personal(inheritedRemedy))
		return
	}
	for _, r := range remedies {
		a.printf("%s\n", a.personal(r))
	}
}

// nextStart says what another start of the program would meet.
func nextStart(c probe.Conflict) string {
	switch {
	case c.Class.Placement == probe.Fixed:
		return "there again"
	case c.Again >= 0:
		return fmt.Sprintf("there with p = %.2g", c.Again)
	case c.Class.Placement == probe.Random:
		return "elsewhere, most likely"
	}
	return "not known"
}

// remedies say what helps against a kind of mapping; the first line that fits counts. An empty field
// fits all. NAME is the heap.
var remedies = []struct {
	kind      probe.Kind
	placement probe.Placement
	text      string
}{
	{probe.KindSharedHeap, "", "two heaps want the same addresses: make one of them elsewhere, with: shmheap init OTHER --base ADDR"},
	{probe.KindReserved, "", "reserved, but not for this heap by shmheap run or shmheap stamp, as far as can be seen: start the program with: shmheap run NAME -- PROGRAM"},
	{probe.KindSanitizer, probe.Fixed, "the sanitizer needs these addresses, and starting again cannot help: make the heap without --base, in a range that sanitizers leave free"},
	{"", probe.Fixed, "this is there at each start, so starting again cannot help: make the heap elsewhere, with: shmheap init OTHER --base ADDR; find a place with: shmheap survey -- PROGRAM, and shmheap probe"},
	{"", probe.Random, "start the program with: shmheap run NAME -- PROGRAM, which reserves the addresses first; or just start it again, if the chance is good"},
	{"", "", "see whether it is there at each start with: shmheap survey -- PROGRAM; shmheap run NAME -- PROGRAM reserves the addresses before the program can take them"},
}

// inheritedRemedy is for a program that was not launched itself.
const inheritedRemedy = "the addresses were reserved for a program that started this one, such as a script; name this program itself: shmheap run NAME -- PROGRAM"

func remedy(c probe.Class) string {
	for _, r := range remedies {
		if (r.kind == "" || r.kind == c.Kind) && (r.placement == "" || r.placement == c.Placement) {
			return r.text
		}
	}
	return ""
}
