package shmtest

import (
	"os"
	"testing"
)

// Skip ends the test because the machine lacks something that can be installed or switched on.
// why names what is missing, install what to do about it, for example
// Skip(t, "no C compiler", "install gcc or clang").
//
// Where CI is set in the environment the test fails instead: a machine that is set up to run the
// tests must run all of them, or a test that no longer runs anywhere would go unnoticed.
func Skip(t testing.TB, why, install string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("must not be skipped where CI is set: %s: %s", why, install)
	}
	t.Skipf("%s: %s", why, install)
}

// SkipAnywhere ends the test because it has nothing to test on this machine and nothing that one
// could install changes that: another operating system, another processor, another page size.
// CI takes such a skip.
func SkipAnywhere(t testing.TB, why string) {
	t.Helper()
	t.Skip(why)
}
