// Package launch tests "shmheap run" and "shmheap stamp" on real programs: Go and C, with a fixed
// address, position-independent and static, in a range that a random heap of Go hits once in four
// starts.
package launch
