// Command generate writes a small heap of the format's present version to a file, for tests/compat/testdata:
//
//	go run ./tests/compat/generate tests/compat/testdata
//
// A change of the format needs a new file; those that are there stay as they are.
package main

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"structs"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/queue"
)

// base lies in the first window of every system with 47 bits and more.
const base = 0x5510_0000_0000

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) error {
	temporary, err := os.MkdirTemp("", "generate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	path := filepath.Join(temporary, "fixture.heap")
	h, err := heap.Create("fixture", &heap.Options{Path: path, Size: 8 << 20, Base: base, MaxPeers: 16, MaxRoots: 16, MaxCaches: 64})
	if err != nil {
		return err
	}
	info, err := h.Info()
	if err != nil {
		return err
	}
	if err := errors.Join(fill(h), h.Close()); err != nil {
		return err
	}
	return compress(path, filepath.Join(dir, fmt.Sprintf("v%d.heap.gz", info.Version)))
}

// Node is what the root "list" leads to; the test declares it too.
type Node struct {
	_ structs.HostLayout

	Next  *Node
	Value uint64
	Text  alloc.String
}

func fill(h *heap.Heap) error {
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	var first *Node
	for value := range uint64(100) {
		n, err := alloc.New[Node](a)
		if err != nil {
			return err
		}
		n.Next, n.Value = first, value
		if n.Text, err = alloc.MakeString(a, fmt.Sprint("number ", value)); err != nil {
			return err
		}
		first = n
	}
	if err := alloc.StoreRoot(a, "list", first); err != nil {
		return err
	}
	large, err := alloc.MakeSlice[uint64](a, 1<<14, 1<<14)
	if err != nil {
		return err
	}
	for i := range large.Slice() {
		large.Slice()[i] = uint64(i)
	}
	return enqueue(h, a, first)
}

// enqueue puts the offset of the list's first node into a queue, three times.
func enqueue(h *heap.Heap, a *alloc.Allocator, first *Node) error {
	q, err := queue.Open(a, "queue", &queue.Options{Capacity: 16, Handles: 4})
	if err != nil {
		return err
	}
	p, err := q.Producer()
	if err != nil {
		return err
	}
	root, err := h.LoadRoot("list")
	if err != nil {
		return err
	}
	return errors.Join(p.TryPush(root.Offset), p.TryPush(root.Offset), p.TryPush(root.Offset), p.Close())
}

func compress(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	w, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close(), f.Close())
}
