package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod/arena"
	"github.com/spf13/cobra"
)

const rootLong = `shmheap looks after shared heaps: regions of memory that lie at the same
address in every process that opens them, so that processes can share plain
pointers.

Each heap is a file in a private directory: --dir, or else $SHMHEAP_DIR, or
else /dev/shm/shmheap-UID on Linux and the user's cache directory on macOS. With
--group it is a directory, and are heaps, that the members of a group share.
Wherever a command wants a NAME, a word with a / in it is the path of a heap
that lies elsewhere.

Exit status: 0 fine, 1 failed, 2 wrong usage, 3 the heap is damaged; of "run",
that of the program, or 125 to 127.`

const rootExample = `  shmheap demo                      see it work, on the sources of Go
  shmheap init orders --size 4GiB   make a heap
  shmheap ls                        list the heaps
  shmheap info orders               who is attached, what is in it
  shmheap check orders              is it consistent?
  shmheap rm orders                 remove it`

// app is what the subcommands share.
type app struct {
	out      *output
	err      io.Writer
	json     bool
	dir      string
	group    string
	readOnly bool
	ready    bool     // the command line is understood: errors from here on are no usage errors
	args     []string // of the subcommand; set with ready
}

// run is the whole program: it returns the exit status.
func run(args []string, out, errOut io.Writer) int {
	a := &app{out: &output{Writer: out}, err: errOut}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteC()
	if err == nil {
		err = a.out.err
	}
	return a.fail(cmd, err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "shmheap",
		Short:         "Shared heaps at one address in every process",
		Long:          rootLong,
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := cmd.ValidateFlagGroups(); err != nil { // cobra would do it later, as if the command had failed
				return err
			}
			a.ready, a.args = true, args
			if cmd.Name() != runCommandName && cmd.Name() != traceCommandName { // theirs are the program's
				cmd.SetContext(interruptible())
			}
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "print JSON")
	flags.StringVar(&a.dir, "dir", "", "private `directory` of the heaps")
	root.MarkPersistentFlagDirname("dir")
	flags.StringVar(&a.group, "group", "", "share the heaps with the members of a `group`, a name or a number")
	flags.BoolVar(&a.readOnly, "read-only", false, "attach without the right to write: nothing is changed, nothing recovered")
	root.AddCommand(
		a.initCommand(), a.lsCommand(), a.infoCommand(), a.pprofCommand(), a.checkCommand(),
		a.recoverCommand(), a.rmCommand(), a.demoCommand(), a.probeCommand(), a.surveyCommand(),
	)
	root.AddCommand(a.explainCommand(), a.runCommand(), a.stampCommand(), a.traceCommand(), a.benchCommand())
	root.AddCommand(a.leaksCommand(), a.collectCommand(), a.rebaseCommand(), a.prepareCommand())
	root.AddCommand(a.mapCommand(), a.topCommand(), a.serveCommand())
	root.AddCommand(a.dumpCommand(), a.doctorCommand(), a.manCommand())
	root.AddCommand(a.kmodCommand(), a.kmemCommand())
	return root
}

// interruptible returns a context that the first signal to end ends. The second one ends the process.
func interruptible() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// options returns the options that the persistent flags stand for. Heaps in BPF arenas are opened and removed like others.
func (a *app) options() *heap.Options {
	return &heap.Options{Dir: a.dir, Group: a.group, ReadOnly: a.readOnly, Kernel: arena.New(nil)}
}

// oneName is for commands with the argument NAME: it completes the names of
// the heaps that exist.
func (a *app) oneName(cmd *cobra.Command) *cobra.Command {
	cmd.Args = arguments(1, 1)
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		infos, err := heap.List(a.options())
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		names := []string{}
		for _, info := range infos {
			names = append(names, info.Name)
		}
		return names, cobra.ShellCompDirectiveDefault // a path is as good
	}
	return cmd
}
