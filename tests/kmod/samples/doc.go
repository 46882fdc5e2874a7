// Package samples has the tests that run in the machines of tests/kmod on a device of QEMU's, and on the sample
// modules. Elsewhere they are skipped.
package samples
