package bench

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the copies of the loops")

const generated = "// Code generated from loops_cache_unsafe.go by go generate. DO NOT EDIT.\n\n"

// TestLoopCopies makes the copies of the loops from the original and compares them with what is there.
func TestLoopCopies(t *testing.T) {
	original, err := os.ReadFile("loops_cache_unsafe.go")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(original), "//go:generate go test -run LoopCopies -update\n\n", "", 1)
	for word, of := range map[string]string{"heap": "an Allocator", "go": "Go's own memory", "timed": "a stopwatch"} {
		name := "loops_" + word + "_unsafe.go"
		want := generated + strings.NewReplacer(
			"cacheLoops are the loops over a Cache", word+"Loops are the loops over "+of,
			"cacheLoops", word+"Loops", "cacheSource", word+"Source").Replace(text)
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := os.ReadFile(name); string(got) != want {
			t.Errorf("%s is not what go generate makes", name)
		}
	}
}
