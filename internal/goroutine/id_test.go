package goroutine

import (
	"sync"
	"testing"
)

// TestID: goroutines that exist at the same time differ, and each stays what it is while its stack grows.
func TestID(t *testing.T) {
	if !Known {
		if ID() != 0 {
			t.Error("an identity in a build that knows none")
		}
		return
	}
	const n = 100
	var ids [n]uintptr
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ids[i] = ID()
			ready.Done()
			ready.Wait() // all of them exist now
			if deep(100) != ids[i] {
				t.Error("a goroutine's identity changed")
			}
		})
	}
	done.Wait()
	seen := make(map[uintptr]bool)
	for _, id := range ids {
		if id == 0 || seen[id] {
			t.Fatalf("identity %#x twice, or none", id)
		}
		seen[id] = true
	}
}

func deep(n int) uintptr {
	var pad [1000]byte
	if n == 0 {
		return ID() + uintptr(pad[0])
	}
	return deep(n-1) + uintptr(pad[n])
}
