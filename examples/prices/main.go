// Command prices stores a table of prices in a shared heap, for readers in any language that follow offsets: reader.py
// and reader.c in readers need nothing but the file.
//
//	go run ./examples/prices
//	python3 examples/prices/readers/reader.py "$(shmheap info example-prices --json | jq -r .path)"
//	cc -o reader examples/prices/readers/reader.c && ./reader FILE
//	shmheap rm example-prices
package main

import (
	"errors"
	"fmt"
	"log"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

const name = "example-prices"

// Table is what the root "prices" leads to. All fields have a fixed width, so that other languages know where they
// are; First is an offset from the base and not a pointer, so that they may map the heap anywhere.
type Table struct {
	Count uint64
	First uint64
}

// Price is an entry. Its name is padded with zero bytes.
type Price struct {
	Next  uint64 // offset of the next, 0 at the end
	Cents int64
	Name  [16]byte
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	h, err := heap.Create(name, &heap.Options{Size: 64 << 20})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	table, err := alloc.New[Table](a)
	if err != nil {
		return err
	}
	for i, fruit := range []string{"plums", "pears", "apples"} {
		p, err := alloc.New[Price](a)
		if err != nil {
			return err
		}
		copy(p.Name[:], fruit)
		p.Cents, p.Next = int64(100+i), table.First
		offset, err := alloc.OffsetOf(a, p)
		if err != nil {
			return err
		}
		table.First = offset
		table.Count++
	}
	if err := alloc.StoreRoot(a, "prices", table); err != nil {
		return err
	}
	fmt.Println(h.Path())
	return nil
}
