// Package inside has the tests of package samples that run in its guests: on a device of QEMU's, and on
// the sample modules. Elsewhere they are skipped.
package inside
