// Package inside has the tests that run where the kernel module is inserted: in the machines of tests/kmod,
// which also insert the partner, a module that is the kernel's side of the tests. Elsewhere they are skipped.
package inside
