package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/shmheap/shmheap/internal/demo"
)

// printDemo prints a report for people: one line for each claim, and below
// them the answers of the reader.
func (a *app) printDemo(r *demo.Report) {
	t := newTable(a.out, table.Row{})
	t.ResetHeaders()
	t.AppendRows([]table.Row{
		{"folder", fmt.Sprintf("%s: %s, %s", r.Folder, plural(r.Files, "file", "files"), size(r.Bytes))},
		{"heap", fmt.Sprintf("%s: at most %s, %s committed, %s live", r.Heap, size(r.Size), size(r.Committed), size(r.LiveBytes))},
		{"address", describeBase(r)},
		{"index", describeIndex(r)},
	})
	if r.Killed != nil {
		t.AppendRows([]table.Row{
			{"killed", describeKilled(r.Killed)},
			{"recovered", describeRecovered(r.Killed)},
		})
	}
	t.AppendRows([]table.Row{
		{"digest", fmt.Sprintf("shared %.12s, private %.12s: %s", r.Walk.Digest, r.Private.Digest, verdict(r.SameIndex, "equal", "DIFFERENT"))},
		{"blocks", fmt.Sprintf("%s live in the allocator, %s reachable by the reader: %s",
			number(r.LiveBlocks), number(r.Walk.Blocks), verdict(r.SameBlocks, "equal", "DIFFERENT"))},
		{"check", verdict(r.Clean, "clean", "DAMAGED: "+strings.Join(r.Problems, "; "))},
	})
	t.Render()
	a.printf("\n")
	a.printQueries(r.Walk.Queries)
}

func verdict(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

func describeBase(r *demo.Report) string {
	if r.SameBase {
		return fmt.Sprintf("base %s in all %d processes, and the index at %s", r.Base, len(r.Processes), r.Processes[0].Index)
	}
	var seen []string
	for _, p := range r.Processes {
		seen = append(seen, fmt.Sprintf("%s (pid %d) %s", p.Role, p.PID, p.Base))
	}
	return "DIFFERENT: " + strings.Join(seen, ", ")
}

func describeIndex(r *demo.Report) string {
	workers := 0
	for _, p := range r.Processes {
		if p.Role == string(demo.RoleWorker) {
			workers++
		}
	}
	return fmt.Sprintf("%s, %s, by %s in %.1f s: %s files/s", plural(r.Walk.Words, "word", "words"),
		plural(r.Walk.Postings, "posting", "postings"), plural(workers, "worker", "workers"), r.Seconds, number(int(r.FilesPerSecond)))
}

func describeKilled(k *demo.Killed) string {
	return fmt.Sprintf("worker %d (peer %s) with SIGKILL, when %s were done, %s by this one",
		k.PID, k.Peer, plural(k.AfterFiles, "file", "files"), number(k.Files))
}

func describeRecovered(k *demo.Killed) string {
	r := k.Recovered
	return fmt.Sprintf("%s with %s and %s; %s taken over, %s of it found and kept; in its hand: %s freed, %s kept",
		plural(r.Caches, "cache", "caches"), plural(r.Slabs, "slab", "slabs"), plural(r.Blocks, "free block", "free blocks"),
		plural(k.TakenOver, "file", "files"), plural(k.Found, "posting", "postings"),
		plural(k.Freed, "block", "blocks"), number(k.Kept))
}

// printQueries prints the answers of the reader.
func (a *app) printQueries(queries []demo.Query) {
	if len(queries) == 0 {
		return
	}
	t := newTable(a.out, table.Row{"word", "files", "most often in"}, "files")
	for _, q := range queries {
		var top []string
		for _, h := range q.Top {
			top = append(top, fmt.Sprintf("%s (%s)", h.Path, number(h.Count)))
		}
		t.AppendRow(table.Row{q.Word, number(q.Files), strings.Join(top, ", ")})
	}
	t.Render()
}
