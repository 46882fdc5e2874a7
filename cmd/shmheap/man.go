package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

const manLong = `Write a manual page for this command and for each of its subcommands into a
folder, which is made if need be. Pages for man(1) are in section 1; --markdown
writes the same as Markdown.

Completion for a shell is written by "shmheap completion".`

const manExample = `  shmheap man /usr/local/share/man/man1 && man shmheap-init
  shmheap man --markdown doc/command
  shmheap completion bash >/etc/bash_completion.d/shmheap`

// manJSON is what "man --json" prints.
type manJSON struct {
	Folder string   `json:"folder"`
	Pages  []string `json:"pages"` // names of the files
}

func (a *app) manCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:     "man DIR",
		Short:   "Write manual pages",
		Long:    manLong,
		Example: manExample,
		Args:    arguments(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.man(cmd.Root(), args[0], markdown) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "write Markdown")
	return cmd
}

func (a *app) man(root *cobra.Command, dir string, markdown bool) error {
	root.DisableAutoGenTag = true // the same sources give the same pages
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var err error
	if markdown {
		err = doc.GenMarkdownTree(root, dir)
	} else {
		day := time.Unix(0, 0).UTC()
		err = doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "shmheap", Manual: "Shared heaps", Date: &day}, dir)
	}
	if err != nil {
		return fmt.Errorf("write pages: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	j := manJSON{Folder: dir, Pages: []string{}}
	for _, f := range files {
		j.Pages = append(j.Pages, f.Name())
	}
	if a.json {
		return a.printJSON(j)
	}
	a.printf("%s in %s\n", plural(len(j.Pages), "page", "pages"), dir)
	return nil
}
