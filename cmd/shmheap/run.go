package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/launch"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

const runLong = `Run a program in which the addresses of the heaps are reserved before its first
instruction, so that nothing of its own, neither libraries nor a random heap of
Go, can be in the way when it opens them. --base and --size reserve a range
without a heap. What to reserve stands before the --, the program behind it.

This command becomes the program: process id, terminal, signals, standard input
and output and the exit status are the program's, and nothing stays behind. The
programs that it starts in turn have no reservation; start them with this
command too. The same goes for a program that a script becomes by exec, as those
in front of many versions of python3 do: name the program itself.

The reservation is made with ptrace. Where that is denied, a program with a
fixed address is run from a copy in memory in which the kernel reserves the
range, as "shmheap stamp" does it. Any other program then starts without a
reservation and with a warning, or with --require not at all.

Exit status: the program's; 125 this command failed or was not understood, 126
the program cannot be executed, 127 there is no such program.`

const runExample = `  shmheap run orders -- ./server --port 80
  shmheap run orders prices -- python3 report.py
  shmheap run --base 0x1000_0000_0000 --size 16TiB --require -- ./server`

// Exit statuses of run, as those of env and nohup.
const (
	exitRunFailed    = 125
	exitCannotRun    = 126
	exitNoSuchThings = 127
)

// traceCommandName is the name of the command that run starts as its tracer.
const traceCommandName = "trace-launch"

const runCommandName = "run"

// exitError is an error with an exit status of its own.
type exitError struct {
	error
	status int
}

func (e *exitError) Unwrap() error { return e.error }

// runFlags are the flags of run.
type runFlags struct {
	base    addressValue
	size    sizeValue
	require bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:     runCommandName + " [NAME...] -- PROGRAM [ARG...]",
		Short:   "Run a program with the addresses of heaps reserved",
		Long:    runLong,
		Example: runExample,
		Args: func(cmd *cobra.Command, args []string) error {
			return checkRunArgs(cmd, len(args), &f)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			n := cmd.ArgsLenAtDash()
			return withRunStatus(a.run(args[:n], args[n:], &f))
		},
		ValidArgsFunction: a.completeRun,
	}
	addRange(cmd, &f.base, &f.size)
	cmd.Flags().BoolVar(&f.require, "require", false, "fail when nothing can be reserved, instead of a warning")
	return cmd
}

// addRange adds the flags for a range without a heap.
func addRange(cmd *cobra.Command, base *addressValue, size *sizeValue) {
	cmd.Flags().Var(base, "base", "reserve a range without a heap: its `address`")
	cmd.Flags().Var(size, "size", "and its size, such as 64GiB")
}

// checkRange wants both flags of addRange or, if something else is to be reserved, none.
func checkRange(base addressValue, size sizeValue, others int) error {
	switch {
	case (base == 0) != (size == 0):
		return errors.New("--base and --size belong together")
	case base == 0 && others == 0:
		return errors.New("nothing to reserve: name a heap, or give --base and --size")
	}
	return nil
}

func checkRunArgs(cmd *cobra.Command, n int, f *runFlags) error {
	names := cmd.ArgsLenAtDash()
	if names < 0 || names == n {
		return errors.New("no program: write -- before it")
	}
	return checkRange(f.base, f.size, names)
}

// completeRun completes heaps, and files behind the --.
func (a *app) completeRun(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if cmd.ArgsLenAtDash() >= 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.oneName(&cobra.Command{}).ValidArgsFunction(cmd, nil, "")
}

// run becomes the program.
func (a *app) run(names, program []string, f *runFlags) error {
	ranges, err := a.ranges(names, f.base, f.size)
	if err != nil {
		return err
	}
	l := launch.Launch{
		Args: program, Ranges: ranges, Require: f.require, Warn: a.err,
		Tracer: []string{traceCommandName},
	}
	return l.Exec()
}

// errOverlap says that two heaps cannot be in one process.
var errOverlap = errors.New("addresses overlap")

// ranges returns the addresses of heaps and of the flags.
func (a *app) ranges(names []string, base addressValue, size sizeValue) ([]probe.Range, error) {
	var ranges []probe.Range
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		info, err := heap.Stat(name, a.options())
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, probe.Range{Start: info.Base, End: info.Base + info.Size})
	}
	if base != 0 {
		ranges = append(ranges, probe.Range{Start: uint64(base), End: uint64(base) + uint64(size)})
	}
	for i, r := range ranges {
		if r.Start%probe.Guard != 0 || r.Size() == 0 || r.Size()%probe.Guard != 0 || r.End < r.Start {
			return nil, fmt.Errorf("%v: %w", r, probe.ErrUnaligned)
		}
		for _, other := range ranges[:i] {
			if r.Overlaps(other) {
				return nil, fmt.Errorf("%w: %v and %v", errOverlap, other, r)
			}
		}
	}
	return ranges, nil
}

// withRunStatus adds the exit status to an error of run.
func withRunStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, launch.ErrStart) && (errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)):
		return &exitError{err, exitNoSuchThings}
	case errors.Is(err, launch.ErrStart), errors.Is(err, launch.ErrPrivileged):
		return &exitError{err, exitCannotRun}
	}
	return &exitError{err, exitRunFailed}
}

// traceCommand is what run starts as its tracer.
func (a *app) traceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    traceCommandName,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return launch.Trace()
		},
	}
}
