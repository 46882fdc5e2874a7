package main

import (
	"bytes"
	"os"
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
