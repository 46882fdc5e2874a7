// Package kmod boots kernels in virtual machines (package internal/guest), inserts the kernel module and its
// samples there, runs what uses them, and reads what the kernel says of it.
//
// The tests that run inside are those of package kmod, of tests/kmod/inside and of tests/kmod/samples. The package is
// a step of its own: make kmod. It fetches Debian's kernels, and builds two that watch themselves, into a cache outside
// of the checkout; the first time that takes about ten minutes on two processors.
package kmod
