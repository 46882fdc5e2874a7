package slab_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/shmheap/shmheap/kmod/slab"
)

// Objects of a size that SLUB must round up, every other one of which goes back: what slabinfo shows then is a cache
// whose slabs are half full. It runs where the module is inserted.
func ExampleCreate() {
	c, err := slab.Create(&slab.Options{Size: 192, Align: 64})
	if err != nil {
		log.Fatal(err)
	}
	made, err := c.Alloc(10_000, 0)
	if err != nil {
		log.Fatal(err)
	}
	freed, err := c.Free(0, 2, slab.All)
	if err := errors.Join(err, c.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(made, freed)
	// Output: 10000 5000
}
