package probe_test

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/shmheap/shmheap/probe"
)

// The first process chooses the addresses, and every other one reserves exactly those.
func Example() {
	f, err := os.CreateTemp("", "region")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if err := f.Truncate(1 << 20); err != nil {
		log.Fatal(err)
	}

	r, err := probe.Find(1<<20, &probe.Options{Key: "1000/orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Release()
	memory, err := r.Map(f, true)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(uint64(memory.Base()) == r.Range().Start)
	// Output: true
}

// A range that is taken says by what. Here the program itself is in the way.
func ExampleReserve() {
	mappings, err := probe.Self()
	if err != nil {
		log.Fatal(err)
	}
	program := mappings[0]
	base := program.Start / probe.Guard * probe.Guard

	_, err = probe.Reserve(base, probe.Guard)
	var taken *probe.TakenError
	if errors.As(err, &taken) {
		fmt.Println(taken.Mappings[0].Path == program.Path)
	}
	// Output: true
}
