// Package guest runs tests of this repository in virtual machines (package internal/guest): on a
// processor with five levels of page tables, and on arm64 with a kernel of its own, where ptrace works as
// it does not under qemu-user.
//
// Test binaries and programs are built here, as a guest has no compiler. It takes minutes without the
// build cache, so the package is a step of its own: make guest.
package guest
