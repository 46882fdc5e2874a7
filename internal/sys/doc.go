// Package sys is the one door to the operating system: every system call of this module is made
// here, and only here is golang.org/x/sys imported.
//
// Each function does one thing and decides nothing. Where systems differ, noun_linux.go,
// noun_darwin.go and noun_other.go hold the same functions behind one contract; what a system cannot
// do answers with an error that wraps errors.ErrUnsupported. Errors wrap the errno, so that
// errors.Is(err, fs.ErrExist) and the like work.
//
// Addresses are numbers (uint64) everywhere except in the result of MapFile. A number is not seen by
// Go's collector. That matters for a reservation: the address asked for may lie in Go's own heap, and
// the collector stops the program when it finds a pointer to an unused part of it on a stack.
package sys
