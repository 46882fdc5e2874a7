//go:build !(amd64 || arm64) || race

package goroutine

// Known says whether ID tells goroutines apart in this build. Under the race detector it does not, so that what
// goroutines hand to one another without a lock is handed over with one there.
const Known = false

// ID returns 0.
func ID() uintptr { return 0 }
