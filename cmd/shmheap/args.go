package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// arguments wants so many of them, and otherwise says how the command is used.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		if least <= n && n <= most {
			return nil
		}
		count := "no argument"
		if n > 0 {
			count = plural(n, "argument", "arguments")
		}
		return fmt.Errorf("%s, want: %s", count, cmd.UseLine())
	}
}
