// Command list keeps a list of words in a shared heap. Each call is a process of its own, and all of them follow the
// same raw pointers:
//
//	go run ./examples/list add apples pears
//	go run ./examples/list add plums
//	go run ./examples/list show
//	go run ./examples/list remove
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/lock"
)

const name = "example-list"

// List is what the root leads to. Its lock holds in all processes.
type List struct {
	Lock  lock.Mutex
	First *Node
}

// Node is a word of the list. Next is a plain pointer, the same number in every process.
type Node struct {
	Next *Node
	Word alloc.String
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: list add WORD... | show | remove")
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func run(what string, words []string) (err error) {
	if what == "remove" {
		return heap.Remove(name, nil)
	}
	h, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	a, err := alloc.Open(h) // returns what dead processes held
	if err != nil {
		return err
	}
	list, err := theList(a)
	if err != nil {
		return err
	}
	// A holder that died is no reason to stop: a word was linked by one store, or was not.
	if err := list.Lock.Lock(context.Background(), h); errors.Is(err, lock.ErrOwnerDied) {
		err = list.Lock.MarkConsistent(h)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, list.Lock.Unlock(h)) }()
	if what == "add" {
		return add(a, list, words)
	}
	for n := list.First; n != nil; n = n.Next {
		fmt.Println(n.Word.String())
	}
	return nil
}

// open opens the heap, and makes it if there is none. Of several processes that do so at once, one makes it.
func open() (*heap.Heap, error) {
	h, err := heap.Create(name, &heap.Options{Size: 64 << 20})
	if errors.Is(err, heap.ErrExist) {
		return heap.Open(name, nil)
	}
	return h, err
}

// theList returns the one list, whoever comes first.
func theList(a *alloc.Allocator) (*List, error) {
	mine, err := alloc.New[List](a)
	if err != nil {
		return nil, err
	}
	list, loaded, err := alloc.LoadOrStoreRoot(a, "list", mine)
	if err == nil && loaded {
		err = alloc.Delete(a, mine)
	}
	return list, err
}

// add puts words at the front.
func add(a *alloc.Allocator, list *List, words []string) error {
	for _, word := range words {
		n, err := alloc.New[Node](a)
		if err != nil {
			return err
		}
		if n.Word, err = alloc.MakeString(a, word); err != nil {
			return err
		}
		n.Next = list.First
		list.First = n
	}
	return nil
}
