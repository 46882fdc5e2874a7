package alloc_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// Example stores a list of raw pointers under a root, as one process would, and walks it from the root,
// as any other process would.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h, err := heap.Create("list", &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		log.Fatal(err)
	}

	type Node struct {
		Next *Node
		Text alloc.String
	}
	var head *Node
	for _, text := range []string{"heap", "one", "address,", "one"} {
		n, err := alloc.New[Node](a)
		if err != nil {
			log.Fatal(err)
		}
		if n.Text, err = alloc.MakeString(a, text); err != nil {
			log.Fatal(err)
		}
		n.Next, head = head, n
	}
	if err := alloc.StoreRoot(a, "head", head); err != nil {
		log.Fatal(err)
	}

	first, err := alloc.LoadRoot[Node](a, "head")
	if err != nil {
		log.Fatal(err)
	}
	for n := first; n != nil; n = n.Next {
		fmt.Println(n.Text.String())
	}
	// Output:
	// one
	// address,
	// one
	// heap
}

// ExampleCache allocates from a cache of its own and frees elsewhere.
func ExampleCache() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h, err := heap.Create("cache", &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		log.Fatal(err)
	}
	c, err := a.NewCache() // for this goroutine alone
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	p, err := c.Alloc(100)
	if err != nil {
		log.Fatal(err)
	}
	size, err := c.UsableSize(p)
	fmt.Println(size >= 100, err)
	fmt.Println(a.Free(p)) // by anyone, in any process
	// Output:
	// true <nil>
	// <nil>
}

// ExampleArena builds something of many parts that lives and dies as a whole.
func ExampleArena() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h, err := heap.Create("arena", &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		log.Fatal(err)
	}

	type Node struct {
		Next *Node
		Text alloc.String
	}
	r, err := alloc.NewArena(a, nil)
	if err != nil {
		log.Fatal(err)
	}
	var head *Node
	for i := range 10_000 {
		n, err := alloc.New[Node](r)
		if err != nil {
			log.Fatal(err)
		}
		if n.Text, err = alloc.MakeString(r, fmt.Sprint("node ", i)); err != nil {
			log.Fatal(err)
		}
		n.Next, head = head, n
	}
	// Until here the arena dies with this process. Now it lives on, and others may be told of it.
	if err := r.Publish(); err != nil {
		log.Fatal(err)
	}
	if err := alloc.StoreRoot(a, "list", head); err != nil {
		log.Fatal(err)
	}

	// Somebody else, who knows any pointer into it.
	list, err := alloc.LoadRoot[Node](a, "list")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list.Text.String())
	same, err := alloc.OpenArena(a, unsafe.Pointer(list))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(alloc.StoreRoot[Node](a, "list", nil), same.Free())
	// Output:
	// node 9999
	// <nil> <nil>
}
