// Package invariants says whether this build looks for its own mistakes.
//
// In a build with the tag invariants, packages check on their way what must be true of their own state, and panic with
// what is not; and every cache of package alloc is a careful one, which looks for mistakes of its users. In every other
// build [Enabled] is the constant false, and the compiler removes what depends on it. What a peer may have written
// is no invariant: in any build that is an error where it matters. But a build with the tag takes it that no peer
// is broken, and panics where one is.
package invariants
