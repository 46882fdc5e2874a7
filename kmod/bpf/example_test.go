package bpf_test

import (
	"fmt"
	"log"

	"github.com/shmheap/shmheap/kmod/bpf"
)

// A program that counts to ten, as a table with labels, and as the kernel gets it. bpf.Load takes the table too.
func ExampleAssemble() {
	code, err := bpf.Assemble([]bpf.Instruction{
		bpf.Set32(bpf.R0, 0),
		bpf.Mark("again"),
		bpf.ComputeBy(bpf.Add, bpf.R0, 1),
		bpf.JumpIfValue(bpf.Less, bpf.R0, 10, "again"),
		bpf.Exit(),
	})
	if err != nil {
		log.Fatal(err)
	}
	for ; len(code) > 0; code = code[8:] {
		fmt.Printf("% x\n", code[:8])
	}
	// Output:
	// b7 00 00 00 00 00 00 00
	// 07 00 00 00 01 00 00 00
	// a5 00 fe ff 0a 00 00 00
	// 95 00 00 00 00 00 00 00
}
