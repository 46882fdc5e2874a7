// Package queue moves offsets into a heap between processes through bounded rings that no dead process
// can wedge.
package queue
