// Package goroutine tells goroutines apart, so that a cache can belong to one without a lock.
//
// A goroutine's identity is the address of the runtime's descriptor of it, which the register or the
// thread-local word holds that Go's assembly calls g. It is a number to compare and not a pointer to
// follow: what the descriptor looks like is the runtime's business.
package goroutine
