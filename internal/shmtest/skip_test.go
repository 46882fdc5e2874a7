package shmtest

import (
	"fmt"
	"testing"
)

// recorder stands in for a test and keeps how it was ended. Unlike a test it goes on afterwards,
// so only the first end counts.
type recorder struct {
	testing.TB
	end string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) { r.record("fail", format, args) }

func (r *recorder) Skipf(format string, args ...any) { r.record("skip", format, args) }

func (r *recorder) Skip(args ...any) { r.record("skip", "%s", args) }

func (r *recorder) record(how, format string, args []any) {
	if r.end == "" {
		r.end = how + ": " + fmt.Sprintf(format, args...)
	}
}

func TestSkip(t *testing.T) {
	tests := []struct{ name, ci, want string }{
		{"at a desk", "", "skip: no C compiler: install gcc"},
		{"in CI", "true", "fail: must not be skipped where CI is set: no C compiler: install gcc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			var r recorder
			if Skip(&r, "no C compiler", "install gcc"); r.end != test.want {
				t.Errorf("Skip: %q, want %q", r.end, test.want)
			}
		})
	}
}

func TestSkipAnywhere(t *testing.T) {
	t.Setenv("CI", "true")
	var r recorder
	if SkipAnywhere(&r, "not Linux"); r.end != "skip: not Linux" {
		t.Errorf("SkipAnywhere: %q", r.end)
	}
}
