//go:build !amd64 || race

package queue

import "github.com/shmheap/shmheap/internal/mem"

func takeLines(slots []mem.Word, offsets []uint64, full, empty, first, last uint64) int {
	return takeLinesGo(slots, offsets, full, empty, first, last)
}

func fillLines(slots []mem.Word, offsets []uint64, full, first, last uint64) int {
	return fillLinesGo(slots, offsets, full, first, last)
}
