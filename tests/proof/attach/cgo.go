//go:build cgo

package main

// With this a build that may use cgo does: the program is linked to the C library and its threads are
// that library's.
import _ "runtime/cgo"
