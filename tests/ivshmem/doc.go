// Package ivshmem tests one heap that two machines share: this one and one that QEMU emulates, whose PCI device
// ivshmem-plain is a file of this one, or two that QEMU emulates. Both have the heap at the same address and follow each
// other's raw pointers; each takes the other for dead when it has not shown itself for a term, and in the end one is
// switched off while it holds a lock. It is a prototype of heaps in memory that machines share by other means,
// such as CXL.
package ivshmem
