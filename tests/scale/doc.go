// Package scale tests many processes on a large, sparse heap. SHMHEAP_PEERS=1024 makes them as many as a heap has
// slots by default; doc/scale.md has the numbers.
package scale
