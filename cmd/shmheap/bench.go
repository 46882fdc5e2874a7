package main

import "github.com/spf13/cobra"

const benchLong = `Measure this release of shmheap on this machine, beside others where there are
any. All that is compared is measured in one run, by turns and with the same
loops, and reported as medians of several rounds with the extremes.`

const benchExample = `  shmheap bench alloc --quick
  shmheap bench alloc --peers
  shmheap bench queue --peers
  shmheap bench all --peers --report report.html`

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure it, beside others",
		Long:    benchLong,
		Example: benchExample,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchAllocCommand(), a.benchWorkerCommand(), a.benchQueueCommand(), a.benchQueueWorkerCommand(), a.benchAllCommand())
	return cmd
}
