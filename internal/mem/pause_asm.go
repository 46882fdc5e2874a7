//go:build amd64 || arm64

package mem

// Pause tells the processor n times that this is a loop that waits for another one to store: it saves
// power, leaves the core to its sibling, and above all does not touch memory meanwhile.
//
//go:noescape
func Pause(n uint32)
