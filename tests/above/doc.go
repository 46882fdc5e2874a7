// Package above tests heaps whose base lies above the addresses that the kernel gives out unasked: made,
// shared by processes, agreed on, reserved by the launcher. Where the processor has no such addresses,
// the one test is that this is said; package tests/guest runs the others in a guest that has them.
package above
