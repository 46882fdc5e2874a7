// Package bpf writes, loads, runs and attaches BPF programs that work in the arena of a heap (package kmod/arena).
//
//	Instruction, Assemble   programs as tables, with labels, and with the casts that arenas need
//	Object                  programs that clang has compiled
//	Load -> Program         Run on the caller's time, or attach to something: Link
//	Ring                    records from programs, waited for in Go's poller
//
// It encodes by itself, as the encoder of the usual library, github.com/cilium/ebpf v0.22, drops the offset of a
// move, in which the cast between the addresses of user space and of the kernel is written.
//
// # Addresses
//
// A pointer in an arena is the one that user space uses. A program casts it (CastKernel) before it loads or stores
// through it, and stores it as it is. The kernel uses its low 32 bits only, relative to the arena: whatever number
// user space has put there, the access stays inside. One to a page that was never touched reads 0 and stores
// nothing; heap.Commit has touched what the heap calls committed.
//
// # Order
//
// Atomic operations that fetch are full barriers on every architecture. A plain load or store has no order on
// arm64; load-acquire and store-release instructions came with Linux 6.15 only, and are not used here.
//
// # What it is not
//
// No verifier, no types beyond finding the kernel's functions and fields, no relocation to other kernels'
// structures (CO-RE) but by Kernel's lookups.
package bpf
