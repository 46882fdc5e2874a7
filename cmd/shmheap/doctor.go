package main

import (
	"errors"

	"github.com/spf13/cobra"
)

const doctorLong = `Look at what this machine has of what shared heaps need: features of the kernel,
limits, the file system of the heaps, and what the launcher and the kernel side
want. Each line says what is the case; where something is missing or worth
knowing, what that means and how to mend it.

Exit status: 0 nothing is bad, 1 something is.`

const doctorExample = `  shmheap doctor
  shmheap doctor --all
  shmheap doctor --json | jq '.facts[] | select(.state != "good")'`

var errDoctor = errors.New("this machine lacks something that shared heaps need")

func (a *app) doctorCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:               "doctor",
		Short:             "Look whether this machine has what shared heaps need",
		Long:              doctorLong,
		Example:           doctorExample,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return a.doctor(all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "say of all that is good too what it means")
	return cmd
}

func (a *app) doctor(all bool) error {
	j := doctorJSON{Fine: true, Facts: []factJSON{}}
	for _, look := range examinations {
		f := look(a)
		j.Fine = j.Fine && f.State != factBad
		j.Facts = append(j.Facts, f)
	}
	if a.json {
		if err := a.printJSON(j); err != nil {
			return err
		}
	} else {
		a.printFacts(j.Facts, all)
	}
	if !j.Fine {
		return &reportedError{errDoctor}
	}
	return nil
}

func (a *app) printFacts(facts []factJSON, all bool) {
	counts := map[string]int{}
	for _, f := range facts {
		counts[f.State]++
		a.printf("%-4s  %-24s %s\n", f.State, f.Name, f.Value)
		if f.State == factGood && !all {
			continue
		}
		a.printf("      %s\n", f.Meaning)
		if f.Remedy != "" {
			a.printf("      mend it: %s\n", f.Remedy)
		}
	}
	a.printf("\n%d good, %s, %d bad\n", counts[factGood], plural(counts[factNote], "note", "notes"), counts[factBad])
}

// good, noted and bad make facts.
func good(name, value, meaning string) factJSON {
	return factJSON{Name: name, State: factGood, Value: value, Meaning: meaning}
}

func noted(name, value, meaning, remedy string) factJSON {
	return factJSON{Name: name, State: factNote, Value: value, Meaning: meaning, Remedy: remedy}
}

func bad(name, value, meaning, remedy string) factJSON {
	return factJSON{Name: name, State: factBad, Value: value, Meaning: meaning, Remedy: remedy}
}

// either is a good fact, or otherwise with a remedy.
func either(ok bool, name, yes, no, meaning string, otherwise func(name, value, meaning, remedy string) factJSON, remedy string) factJSON {
	if ok {
		return good(name, yes, meaning)
	}
	return otherwise(name, no, meaning, remedy)
}
