// Package conform tests that a heap is a heap, wherever its pages are: the same tests run on files, on memory without
// a name, and on whatever the kernel keeps (heap.Kernel). Each works with real processes, and kills some.
//
// A test package calls Main in its TestMain and Run for each Backend.
package conform
