package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// naive counts words in the obvious way.
func naive(text string) map[string]uint32 {
	counts := map[string]uint32{}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
	}) {
		if len(word) >= minWord && len(word) <= maxWord {
			counts[strings.ToLower(word)]++
		}
	}
	return counts
}

// counts is what a scanner returns, as a map.
func counts(terms []term) map[string]uint32 {
	m := map[string]uint32{}
	for _, t := range terms {
		m[string(t.text)] += t.count
	}
	return m
}

func TestScan(t *testing.T) {
	long := strings.Repeat("x", maxWord)
	text := "Go go, GO_1! x \xff a\x80b äö " + long + " " + long + "y"
	var s scanner
	terms := s.text([]byte(text))
	want := map[string]uint32{"go": 2, "go_1": 1, long: 1}
	if diff := cmp.Diff(want, counts(terms)); diff != "" || len(terms) != len(want) {
		t.Errorf("%d terms: %s", len(terms), diff)
	}
}

// TestScanModel compares with the obvious way, with one scanner for many
// texts.
func TestScanModel(t *testing.T) {
	var s scanner
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abAB1_ .ä")), 0, 20000, -1).Draw(t, "text")
		terms := s.text([]byte(text))
		if diff := cmp.Diff(naive(text), counts(terms)); diff != "" || len(terms) != len(counts(terms)) {
			t.Fatal(diff)
		}
	})
}

func TestScanEpochWraps(t *testing.T) {
	var s scanner
	s.text([]byte("one two"))
	s.epoch = ^uint32(0)
	if got := counts(s.text([]byte("two two"))); got["two"] != 2 || len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestScanGrows(t *testing.T) {
	var text strings.Builder
	for i := range 10000 {
		text.WriteString("w" + string(rune('a'+i%26)) + strings.Repeat("z", i/26%30) + string(rune('a'+i/780)) + " ")
	}
	var s scanner
	if diff := cmp.Diff(naive(text.String()), counts(s.text([]byte(text.String())))); diff != "" {
		t.Error(diff)
	}
}

func TestCorpus(t *testing.T) {
	dir := folder(t, 4, 11)
	if err := os.Symlink("none", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	c, err := listCorpus(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"binary", "none", "sub0/000.txt", "sub0/003.txt", "sub1/001.txt", "sub2/002.txt"}
	if !slices.Equal(c.paths, want) {
		t.Errorf("got %q, want %q", c.paths, want)
	}
	if _, err := listCorpus(t.Context(), t.TempDir()); !errors.Is(err, ErrNoFiles) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := listCorpus(t.Context(), filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := listCorpus(done(), dir); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestReadText(t *testing.T) {
	dir := folder(t, 1, 12)
	tests := map[string]int{"binary": 0, "none": 9, "empty": 0, "large": 0, "missing": 0}
	var buf []byte
	for name, want := range tests {
		got, err := readText(filepath.Join(dir, name), buf)
		if err != nil || len(got) != want {
			t.Errorf("%s: %d bytes, error %v; want %d", name, len(got), err, want)
		}
		buf = got
	}
	if _, err := readText(dir, buf); err == nil {
		t.Error("no error for a folder")
	}
}
