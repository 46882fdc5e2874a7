//go:build amd64 && !race

package queue

import "github.com/shmheap/shmheap/internal/mem"

// takeLines is takeLinesGo, for slots that begin at a multiple of 16 bytes.
//
//go:noescape
func takeLines(slots []mem.Word, offsets []uint64, full, empty, first, last uint64) int

// fillLines is fillLinesGo, for slots that begin at a multiple of 16 bytes.
//
//go:noescape
func fillLines(slots []mem.Word, offsets []uint64, full, first, last uint64) int
