// Package arena keeps heaps in BPF arenas, which the kernel shares with processes at one address, and loads programs that
// work in them: the kernel side of queues, control words, streams and lists of raw pointers, without a kernel module.
//
//	heap.Create(name, &heap.Options{Kernel: arena.New(nil)})
//
//	Kernel   implements heap.Kernel: arenas by name in a file system for BPF objects, or by descriptor
//	Region   the arena of an open heap, and the blocks that programs are made of
//	Server   takes commands from a queue and sends replies to another, at the ring of a doorbell
//	Stream   a broadcast ring that programs write
//	Deaths   tells of peers that die, before anybody can wait for them
//	Recorder writes what happens at a tracepoint into blocks of the heap
//	Shaper   a token bucket for packets, steered by a word of the heap
//	News     wakes who sleeps, on behalf of programs
//
// Linux has arenas from 6.9 on, with pages of 64 KiB from 6.12.17 on; what is here was tested on 6.12 (amd64, and arm64
// with pages of 4, 16 and 64 KiB) and 6.18. To make one and to load programs takes CAP_BPF and CAP_PERFMON; to open one
// by name or descriptor, and to run programs, nothing. What is missing is a *bpf.SupportError. doc/arena.md compares
// with a module and has the numbers.
//
// # Trust
//
// A program's access never leaves the arena, whatever pointers user space has put there; so programs check what they are told
// only as far as the result matters. Loops end by a count of turns. What a program reads twice may have changed.
//
// # Crash behaviour
//
// Programs are not killed: what a block does is done. Processes may be killed at any point, as with other heaps. A program
// goes with the process that has loaded it, unless it is pinned.
//
// # Fork
//
// A child of fork does not have the mapping, so it must not touch the heap: that is SIGSEGV. It may map the arena again at
// the same address, from the descriptor, or exec and open the heap by name. It holds its parent's locks, as with other heaps.
package arena
