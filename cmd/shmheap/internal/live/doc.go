// Package live looks at a heap again and again, without taking part in it, and says what is there and how fast it
// changes: what shmheap's map, top and serve show.
package live
