// Package kmod is the programs' side of the kernel module shmheap.ko, whose sources lie beside it: memory of
// the kernel as a heap, queues whose other end is in the kernel, control words, and a lossy stream.
//
//	Open --> Device --Create, Open--> Instance --Control--> words that the kernel reads, one store each
//	            |                        |------Stream---> records that it writes, and how many were lost
//	            |                        |------Channel--> Commands and Replies: bare offsets through shared queues
//	            |                        |                 Messages: blocks with a payload through the same
//	            +--Kernel--> heap.Create |------Copies---> Messages by copies alone, for the untrusted
//
// An instance has a name in the whole system, by which other modules find it (shmheap_get), a region of the
// kernel's pages, which every process maps at the same address, a page of control words, and perhaps a
// stream. It lives as long as somebody has it open or mapped. A heap in its region is made by package heap with
// this package's Kernel, and used like any other; Of finds the instance behind it.
//
// # Queues
//
// A channel has up to four queues of package queue, and the kernel is at their other ends:
//
//	kernel --Command--> program      program --Reply--> kernel        bare offsets, whatever they mean
//	kernel <---Fill---- program      program <-Completion- kernel     blocks that come empty and go back
//
// No call is made for an element: neither to push nor to pop. Who sleeps says so in the queue, and only
// then does the other side wake it: a program sleeps in Go's poller, and costs no thread.
//
// # Trust
//
// The module takes all that programs can write for hostile. This package in turn checks what it reads
// from shared memory as package queue does. Untrusted programs get a descriptor that can do no more than
// Messages of Copies.
//
// # Where
//
// Linux, with the module inserted and a device that the caller may open: Open returns an *UnavailableError
// that says what is missing elsewhere. doc/kernel.md is about the module.
package kmod
