// Package compat tests heaps that other releases have made: files under testdata, one for each version of the format,
// made by the program in generate. A heap of this version is attached to and used; one of any other is refused with an
// error that names both versions.
package compat
