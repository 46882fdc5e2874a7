package heap_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/shmheap/shmheap/heap"
)

// temporary returns options for a private directory of an example, and what removes it.
func temporary() (o *heap.Options, remove func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	return &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 16 << 20}, func() { os.RemoveAll(dir) }
}

// A heap is made by one process and opened by others, each of which has it at the same address.
func Example() {
	o, remove := temporary()
	defer remove()
	h, err := heap.Create("orders", o)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()

	// Another process says heap.Open("orders", o). This one has it open already.
	_, err = heap.Open("orders", o)
	fmt.Println(errors.Is(err, heap.ErrOpen))
	info, err := heap.Stat("orders", o)
	fmt.Println(info.Base == h.Base(), info.Peers, err)
	// Output:
	// true
	// true 1 <nil>
}

// A root leads from a name to an offset. What lies there is up to those who share it; package alloc has roots with
// types.
func ExampleHeap_StoreRoot() {
	o, remove := temporary()
	defer remove()
	h, err := heap.Create("orders", o)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	g := h.Geometry()
	data := g.Sections.Data // package alloc hands this out in blocks
	if err := h.Commit(data, 64); err != nil {
		log.Fatal(err)
	}
	h.Memory().Word(data).Add(42)
	if err := h.StoreRoot(heap.Root{Name: "answer", Offset: data, TypeName: "counter"}); err != nil {
		log.Fatal(err)
	}

	r, err := h.LoadRoot("answer")
	fmt.Println(r.TypeName, h.Memory().Word(r.Offset).Load(), err)
	_, err = h.LoadRoot("question")
	fmt.Println(errors.Is(err, heap.ErrNoRoot))
	// Output:
	// counter 42 <nil>
	// true
}

// Whoever looks takes no part: he is no peer, and nothing that he does changes the heap.
func ExampleLook() {
	o, remove := temporary()
	defer remove()
	h, err := heap.Create("orders", o)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()

	v, err := heap.Look("orders", o)
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()
	peers, err := v.Peers()
	fmt.Println(len(peers), peers[0].ID == h.Peer(), peers[0].Alive, err)
	// Output: 1 true true <nil>
}
