package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

const surveyLong = `Start a program many times and look, from outside, at which addresses it has
mapped. The result is a profile, from which "shmheap probe" and "shmheap init"
know which addresses that program may use, and how probable a collision is.

A run is looked at when it is quiet: for --settle nothing changes in what the
process and its descendants have mapped, and no thread of them runs. Then it
is killed, with its process group. A run that is not quiet after --timeout is
taken as it is, and counted. The program gets a standard input on which nothing
ever comes, and which stays open; its output is thrown away. One that ends by
itself tells nothing: let it wait for something.

The profile holds for programs that are started in the same way, on a system
with the same settings, as far as they do not map much more later on.`

const surveyExample = `  shmheap survey -o node.json -- node server.js
  shmheap survey -n 1000 -o python.json -- python3 -i
  shmheap probe --profile node.json --profile python.json`

// surveyFlags are the flags of survey.
type surveyFlags struct {
	probe.SurveyOptions
	output string
}

func (a *app) surveyCommand() *cobra.Command {
	var f surveyFlags
	cmd := &cobra.Command{
		Use:     "survey [flags] -- PROGRAM [ARG...]",
		Short:   "Find out which addresses a program uses",
		Long:    surveyLong,
		Example: surveyExample,
		Args:    arguments(1, math.MaxInt),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.survey(cmd.Context(), args, &f)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.IntVarP(&f.Runs, "runs", "n", 200, "how many times to start it")
	flags.IntVar(&f.Parallel, "parallel", 0, "how many at once (default twice the processors)")
	flags.DurationVar(&f.Settle, "settle", 50*time.Millisecond, "how long it must be quiet")
	flags.DurationVar(&f.Limit, "timeout", 10*time.Second, "when to take it although it is not")
	flags.StringVarP(&f.output, "output", "o", "", "the `file` for the profile, - for the standard output")
	cmd.MarkFlagFilename("output")
	return cmd
}

func (a *app) survey(ctx context.Context, args []string, f *surveyFlags) error {
	if f.Runs <= 0 || f.Parallel < 0 || f.Settle <= 0 || f.Limit <= 0 {
		a.ready = false // wrong usage
		return errors.New("--runs, --parallel, --settle and --timeout must be positive")
	}
	bar := newProgress(a.err, "runs")
	f.Progress = func(done int) { bar.set(done, f.Runs) }
	p, err := probe.Survey(ctx, args, &f.SurveyOptions)
	bar.end()
	if err != nil {
		return err
	}
	if f.output != "" {
		if err := a.put(f.output, storable(p)); err != nil {
			return err
		}
	}
	if a.json {
		return probe.WriteProfile(a.out, p)
	}
	a.printProfile(p, f.output)
	return nil
}

// storable returns what writes a profile.
func storable(p *probe.Profile) func(io.Writer) error {
	return func(w io.Writer) error { return probe.WriteProfile(w, p) }
}

// outputTo returns where output for file goes: behind symlinks, which stay. What is special, a device
// or a pipe for example, must not be replaced.
func outputTo(file string) (target string, special bool, err error) {
	// Stat comes first: the links of /proc lead to pipes that have no other name.
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return file, true, nil
	}
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return file, false, nil
	}
	target, err = filepath.EvalSymlinks(file)
	return target, false, err
}

// replaceFile writes a file under another name first, so that one that was
// there before is replaced whole or not at all.
func replaceFile(file string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		pathErr.Path = file
	}
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (a *app) printProfile(p *probe.Profile, file string) {
	a.printf("%s of %s\n", plural(len(p.Runs), "run", "runs"), p.Command())
	if p.Unsettled > 0 {
		a.printf("%d of them were not quiet at the time limit; raise --timeout\n", p.Unsettled)
	}
	if p.Ended > 0 {
		a.printf("%s ended too early and did not count\n", plural(p.Ended, "other run", "other runs"))
	}
	t := newTable(a.out, table.Row{"from", "to", "size", "runs", "what"}, "size", "runs")
	for _, o := range p.Occupied {
		kind := "fixed: "
		if o.Random {
			kind = "random: "
		}
		t.AppendRow(table.Row{hex(o.Start), hex(o.End), size(o.Size()), o.Runs, kind + strings.Join(o.Names, ", ")})
	}
	t.Render()
	for _, w := range probe.Windows() {
		a.printf("%s: collision %v\n", w.Name, p.Collision(w.Range))
	}
	if file != "" {
		a.printf("profile %s\n", file)
	}
}
