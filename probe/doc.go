// Package probe finds a range of addresses that is free in this process and makes it ours, without
// ever replacing a mapping that somebody else made.
//
// # The life of a range
//
//	free --Reserve, Find--> reserved --Map--> mapped --Release--> free
//	                            |                                   ^
//	                            +--------------Release--------------+
//
//	reserved  no access; ours: the kernel gives the addresses to nobody else
//	mapped    the file, MAP_SHARED, with MAP_FIXED over what is ours
//	Release   no access again, with MAP_FIXED over what is ours; then munmap
//
// A range is proven free by taking it: of all who ask the kernel for it, one gets it. Looking at the
// memory map first proves nothing, because another thread may map there a moment later; Find looks
// only to save attempts. There are two ways to take a range, and both refuse to replace anything:
//
//   - MAP_FIXED_NOREPLACE, on Linux since 4.19;
//   - a hint, which the kernel honours where the range is free and answers elsewhere where it is not.
//     It is the only way on macOS, on older kernels, and in a build with the tag shmheap_portable.
//
// MAP_FIXED, which silently deletes what was there, is used over our own reservation only. A
// reservation costs address space and one entry in the memory map, but no memory.
//
// # Where
//
// Windows lists where to look, with the reason beside each: ranges that loaders, allocators, language
// runtimes and sanitizers leave alone. Inside a window Find starts at a slot chosen by hash, so that
// two heaps of one process rarely want the same place.
//
// # Locks
//
// In this order: the mutex of a Reservation; holes, which keeps Reserve out while Map may leave a hole;
// the mutex of the guards, which all reservations share.
//
// # What it is not
//
// It reserves in this process only. What it says of others is what was seen: Of and Check look at running
// processes and Survey at programs that will run, and a process may map something else a moment later.
// It does not know files or heaps, and it does not move what is in the way.
package probe
