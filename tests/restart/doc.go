// Package restart tests that a heap outlives its processes: all of them exit, and programs that were built anew, and
// differently, attach and go on; on a file system that is on a disk, also behind a power failure.
package restart
