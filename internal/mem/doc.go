// Package mem gives typed, bounds-checked views of a range of memory that several processes share.
//
// A [Memory] is a base pointer and a size. Everything above this package names a place in it by its
// offset from the base, so an algorithm written against a Memory runs unchanged over a mapping that
// other processes see and over a Go byte slice. The second is what tests use under the race
// detector, which sees no accesses to mappings.
//
// A [Word] is the one unit of shared state: 64 bits, naturally aligned, with the memory orders that
// the protocols above need. sync/atomic's Store is sequentially consistent, on amd64 an XCHG of
// about twenty cycles; StoreRelease is one MOV there and an STLR on arm64. It is written in assembly
// for a second reason: the compiler may delete a plain store to a word that is overwritten later,
// and a word that recovery reads after a SIGKILL must have held every value that the program gave it.
//
// Crash order: SIGKILL stops a process between two instructions, and everything that it stored
// before stays visible to the others. The program order of stores is therefore the order that a
// recovering process sees, provided the compiler kept it.
//
// Offsets that come from shared memory are hostile: callers check them with [Memory.Contains]
// before use. View, Slice, Bytes and Pointer panic when a range is outside the memory, because by
// then it is a bug of ours and not of a peer.
package mem
