// Package samples boots guests (package internal/guest) with the sample modules of kmod/samples and a device
// of QEMU's, and runs the tests of package inside there.
//
// It is a step of its own: make samples.
package samples
