// Package blackbox tests heaps with real processes, through the public packages alone: processes that
// share raw pointers, are killed at any moment, inherit descriptors, fork, or find their range taken.
package blackbox
