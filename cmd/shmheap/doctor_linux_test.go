package main

import (
	"io"
	"testing"
)

// TestFacts: each is named once, says what is the case and what it means, and what is bad says how to mend it.
func TestFacts(t *testing.T) {
	a := &app{out: &output{Writer: io.Discard}, err: io.Discard, dir: t.TempDir() + "/heaps"}
	names := map[string]bool{}
	for _, look := range examinations {
		f := look(a)
		if f.Name == "" || names[f.Name] || f.Value == "" || f.Meaning == "" {
			t.Errorf("%+v", f)
		}
		if f.State == factBad && f.Remedy == "" || f.State != factGood && f.State != factNote && f.State != factBad {
			t.Errorf("%+v", f)
		}
		names[f.Name] = true
	}
	if len(names) < 15 {
		t.Errorf("only %d facts", len(names))
	}
}

func TestChosen(t *testing.T) {
	for text, want := range map[string]string{"always within_size advise [never] deny": "never", "[always] never": "always", "": "", "never": ""} {
		if got := chosen(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMountOf(t *testing.T) {
	if m := mountOf("/proc/self"); m.point != "/proc" || m.kind != "proc" {
		t.Errorf("%+v", m)
	}
	if m := mountOf("/no/such/thing"); m.point != "/" {
		t.Errorf("%+v", m)
	}
}
