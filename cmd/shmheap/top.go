package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/screen"
	"github.com/spf13/cobra"
)

const topLong = `Watch a heap: which processes are attached, what they hold and how fast they
allocate; the queues that roots lead to, how deep they are and who sleeps at them;
the size classes; how the heap grows; and a map of it. Those who died stay listed
until somebody recovers what they held: this command only looks.

Keys: q quits, tab goes to the next table, s sorts it by the next column, r
reverses it, up and down scroll it, space pauses, + and - change the interval.

Where the output is no terminal it is plain text, again and again, or with --once
one time: what a second showed. With --json each is a JSON value.

Rates follow counters that processes store when they look for blocks, so those of
a process that allocates little come in steps.`

const topExample = `  shmheap top orders
  shmheap top orders --interval 200ms
  shmheap top orders --once --json | jq '.peers[] | {pid, held}'`

// topFlags are the flags of top.
type topFlags struct {
	once     bool
	interval time.Duration
}

func (a *app) topCommand() *cobra.Command {
	var f topFlags
	cmd := a.oneName(&cobra.Command{
		Use:     "top NAME",
		Short:   "Watch a heap",
		Long:    topLong,
		Example: topExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.interval < screen.MinInterval || f.interval > screen.MaxInterval {
				a.ready = false // wrong usage
				return fmt.Errorf("--interval %v: want %v to %v", f.interval, screen.MinInterval, screen.MaxInterval)
			}
			return a.looked(args[0], func(w *live.Watcher) error { return a.top(cmd.Context(), w, &f) })
		},
	})
	cmd.Flags().BoolVar(&f.once, "once", false, "show one interval and end")
	cmd.Flags().DurationVar(&f.interval, "interval", time.Second, "how often to look")
	return cmd
}

func (a *app) top(ctx context.Context, w *live.Watcher, f *topFlags) error {
	out := a.out.terminal()
	if f.once || a.json || out == nil {
		return a.topPlain(ctx, w, f)
	}
	m := screen.NewModel(w.Look, f.interval)
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(out), tea.WithInput(os.Stdin), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return errors.Join(m.Err, err)
}

// topPlain shows the heap as text. The first look tells no rates, so what is shown is from the second on.
func (a *app) topPlain(ctx context.Context, w *live.Watcher, f *topFlags) error {
	layout := screen.Layout{}
	if _, err := w.Look(0); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.interval):
		}
		s, err := w.Look(layout.Cells())
		if err != nil {
			return err
		}
		if a.json {
			err = a.printJSON(s)
		} else {
			a.printf("%s\n", layout.Render(s))
		}
		if f.once || err != nil {
			return err
		}
		if !a.json {
			a.printf("\n")
		}
	}
}
