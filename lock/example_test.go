package lock_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/lock"
)

// Account is a struct in a heap with its lock.
type Account struct {
	Lock    lock.Mutex
	Balance int64
}

// A lock is a field of what it protects; its zero value is free. When a holder dies, the next one gets the lock
// together with ErrOwnerDied, and looks whether what it protects is whole.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h, err := heap.Create("bank", &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		log.Fatal(err)
	}
	account, err := alloc.New[Account](a)
	if err != nil {
		log.Fatal(err)
	}

	if err := account.Lock.Lock(context.Background(), h); err != nil {
		log.Fatal(err)
	}
	account.Balance += 100
	fmt.Println(account.Lock.TryLock(h)) // it is held
	fmt.Println(account.Lock.Unlock(h), account.Balance)
	// Output:
	// the lock is held
	// <nil> 100
}
