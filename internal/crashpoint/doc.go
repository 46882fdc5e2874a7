// Package crashpoint names the places between the steps of a multi-step update, so that a test can kill
// the process exactly there.
//
// In a build with the tag crashpoint, [Hit] sends SIGKILL to the process at the n-th time it passes
// the point that the environment variable SHMHEAP_CRASHPOINT names as NAME or NAME:n. In every other
// build it is an empty function that the compiler removes.
package crashpoint

// Env is the environment variable that arms one point.
const Env = "SHMHEAP_CRASHPOINT"

// Point is the name of a place, package.operation.after-what.
type Point string
