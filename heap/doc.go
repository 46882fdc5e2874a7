// Package heap makes one named region of memory that several processes map at the identical address,
// so that a raw pointer stored in it means the same in each.
//
// The region is a file: sparse, of a fixed maximum size, in a private directory on tmpfs (or at a
// path of the caller's choice, or a memfd without a name). Its first page, the superblock, records the
// base; [Open] reads and validates it with pread before anything is mapped, and then maps the whole
// file at that base or fails naming the mapping in the way. Nothing is ever relocated and no mapping
// is ever replaced.
//
//	Create: choose a base, reserve it -> map a file without a name -> tables, superblock, ready word
//	        -> attach -> give the file its name
//	Open:   open, check owner and mode -> read the superblock -> reserve the base -> map -> attach
//	Close:  detach -> unmap -> drop the locks
//
// An attached process is a peer. A peer's slot holds a generation, so a [PeerID] names one attachment
// for ever, and the truth about its life is a lock on one byte of the file, held by the peer's own
// open file description: the kernel drops it when the process dies, whatever the cause and whatever
// its pid namespace. A stopped process keeps its lock and is never taken for dead.
//
// Storage is given to the region before it is touched ([Heap.Commit]), so a full file system is
// ErrNoSpace and not a SIGBUS. Named roots lead from a name to an offset and the fingerprint of a
// type. This package allocates nothing inside the region: that is package alloc's.
//
// # Processes
//
// A process inherits nothing through exec but can open the heap by name, or by a descriptor that it
// inherited or received ([OpenFile]). A child of fork(2) shares its parent's mapping at the same
// address with nothing to do, and shares its parent's peer: the peer lives until the last of them is
// gone. Go programs do not fork, but C programs that map the file do.
//
// # Kernel
//
// With Options.Kernel the pages of a heap are not its file's but memory that the kernel keeps, so that code in the kernel
// works in them by the same addresses. The file carries the locks then, and says how the pages are found. Without the
// right Kernel, Open returns a [*KernelError] that names it.
//
// # Trust
//
// Peers run as the same user and may be buggy. What this package reads from the region it checks on
// use and reports as [ErrCorrupt]; it keeps a private copy of everything in the superblock that it
// relies on. Files are 0600 in a directory of 0700, both must belong to the caller, and no symlink is
// followed.
//
// # Concurrency and locks
//
// All methods may be called by any number of goroutines. Lock order: Heap.life (read), then the
// mutex of the roots, then the file lock of the roots.
package heap
