// Package lab makes guests (package guest) of what tests need in them, runs them, and judges what they did.
//
//	l := lab.Debian(t, "amd64", "6.12")
//	l.Build(map[string]string{"kmod": lab.Root + "/kmod"})
//	l.Insert("shmheap")
//	l.Test("kmod", lab.Tests{})
//	l.Run()
//
// Each step must succeed, and the kernel must have nothing to complain of but of bugs that were planted for it. What
// cannot be had on this machine skips the test. Notes of the tests in the guest become notes of the test here.
//
// It is for tests that lie two directories below the repository's root. Only test files import it; internal/lint
// checks that.
package lab
