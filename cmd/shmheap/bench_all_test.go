package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeTable: the table in README.md is what "bench all --from doc/bench.json --table" prints.
//
//	go test -run TestReadmeTable ./cmd/shmheap -update
func TestReadmeTable(t *testing.T) {
	const readme, begin, end = "../../README.md", "<!-- made by: shmheap bench all --from doc/bench.json --table -->\n", "<!-- end -->"
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	got, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("README.md has no table of what was measured")
	}
	var out, said bytes.Buffer
	if status := run([]string{"bench", "all", "--from", "../../doc/bench.json", "--table"}, &out, &said); status != 0 {
		t.Fatalf("status %d: %s", status, said.String())
	}
	want := "\n" + out.String() + "\n"
	if *update {
		got = want
		if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("README.md does not have what doc/bench.json says; run this test with -update (-want +got):\n%s", diff)
	}
	if !strings.Contains(want, "| met |") {
		t.Errorf("doc/bench.json has nothing that was measured:\n%s", want)
	}
}

// TestBoundsOfAlloc: what doc/alloc.md says was measured in the run of README.md's table is in doc/bench.json. Rows with a
// star are of other runs.
func TestBoundsOfAlloc(t *testing.T) {
	var out, said bytes.Buffer
	if status := run([]string{"bench", "all", "--from", "../../doc/bench.json", "--table"}, &out, &said); status != 0 {
		t.Fatalf("status %d: %s", status, said.String())
	}
	known := make(map[float64]bool)
	for _, row := range rows(out.String()) {
		for _, v := range numbers(row[2]) {
			known[v] = true
		}
	}
	text, err := os.ReadFile("../../doc/alloc.md")
	if err != nil {
		t.Fatal(err)
	}
	_, bounds, _ := strings.Cut(string(text), "\n| bound | wanted |")
	bounds, _, _ = strings.Cut(bounds, "\n\n")
	compared := 0
	for _, row := range rows(bounds) {
		for _, v := range numbers(row[2]) {
			if compared++; !known[v] && !strings.HasSuffix(row[0], "*") {
				t.Errorf("%s: %v was not measured in that run", row[0], v)
			}
		}
	}
	if compared < 15 {
		t.Errorf("only %d figures compared", compared)
	}
}

// rows returns the cells of a table's rows that have four.
func rows(table string) (all [][]string) {
	for _, line := range strings.Split(table, "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) == 3 { // the last one is empty
			cells = append(cells, "")
		}
		if len(cells) == 4 {
			all = append(all, cells)
		}
	}
	return all
}

func numbers(cell string) (all []float64) {
	for _, word := range strings.Fields(cell) {
		if v, err := strconv.ParseFloat(word, 64); err == nil {
			all = append(all, v)
		}
	}
	return all
}
