package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/shmheap/shmheap/internal/demo"
	"github.com/spf13/cobra"
)

const demoLong = `See a shared heap at work, on the sources of Go or on any folder of text.

Four worker processes build one index of all words in all files, in one shared
heap, with plain pointers and without locks. In the middle one of them is
killed with SIGKILL. The others notice, recover what it held, and finish its
files. Then another process walks the index through the same pointers.

At the end every account must balance, or the exit status is 1: all processes
saw the heap at one address, the index equals one that a single process builds
out of Go maps, every block that the allocator has handed out is in the index,
and the check is clean. Nothing is left behind, also after Ctrl-C.`

const demoExample = `  shmheap demo
  shmheap demo ~/src/linux/Documentation
  shmheap demo --workers 8 --keep && shmheap ls
  shmheap demo --json | jq '{live_blocks, walk: .walk.blocks}'`

// demoFlags are the flags of demo, and those with which it runs its children.
type demoFlags struct {
	workers int
	noKill  bool
	keep    bool
	pace    time.Duration
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:     "demo [DIR]",
		Short:   "See it work",
		Long:    demoLong,
		Example: demoExample,
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.demo(cmd.Context(), args, &f)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.workers, "workers", 4, "processes that build the index")
	flags.BoolVar(&f.noKill, "no-kill", false, "let all of them live")
	flags.BoolVar(&f.keep, "keep", false, "keep the heap, to look at it")
	flags.DurationVar(&f.pace, "pace", 0, "rest of a worker in each file (0 picks one)")
	flags.MarkHidden("pace")
	cmd.AddCommand(a.childCommand(demo.RoleWorker), a.childCommand(demo.RoleReader))
	return cmd
}

// demo runs the demonstration and prints its report.
func (a *app) demo(ctx context.Context, args []string, f *demoFlags) error {
	folder, err := folderFor(ctx, args)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	progress := newProgress(a.err, "files")
	report, err := demo.Run(ctx, &demo.Config{
		Folder:  folder,
		HeapDir: a.dir,
		Workers: f.workers,
		Kill:    !f.noKill,
		Keep:    f.keep,
		Pace:    f.pace,
		Command: func(role demo.Role, name string, pace time.Duration) *exec.Cmd {
			return exec.Command(program, "demo", string(role), name, "--dir", a.dir, "--pace", pace.String())
		},
		Progress: progress.set,
	})
	progress.end()
	if report == nil {
		return err
	}
	if a.json {
		return errors.Join(err, a.printJSON(report))
	}
	a.printDemo(report)
	if f.keep {
		a.printf("\nThe heap is kept: shmheap info %s; shmheap rm %s\n", report.Heap, report.Heap)
	}
	return err
}

// folderFor returns the folder to index: the argument, or the sources of Go.
func folderFor(ctx context.Context, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	root := os.Getenv("GOROOT")
	if root == "" {
		out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return "", fmt.Errorf("find the sources of Go: %w: %w", err, demo.ErrNoFiles)
		}
		root = string(bytes.TrimSpace(out))
	}
	return filepath.Join(root, "src"), nil
}
