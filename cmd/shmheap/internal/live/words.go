package live

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// Words says what the spaces mean: how the region is used, and how much of what is free is of use.
func (t *Spaces) Words() []string {
	size := humanize.IBytes
	words := []string{
		fmt.Sprintf("In use are the first %s of the region: %s of tables, %s of slabs, %s of large blocks, %s of arenas.",
			size(t.Used), size(t.Tables), size(t.Slabs), size(t.Large), size(t.Arenas)),
	}
	if t.Slabs > 0 {
		words = append(words, fmt.Sprintf("Slabs are %.0f %% full: %s of them are free blocks or ends too short for one.",
			100*float64(t.SlabsUsed)/float64(t.Slabs), size(t.Slabs-t.SlabsUsed)))
	}
	if t.Arenas > 0 {
		words = append(words, fmt.Sprintf("Arenas are %.0f %% full.", 100*float64(t.ArenasUsed)/float64(t.Arenas)))
	}
	words = append(words, t.gaps())
	if t.Claimed > 0 {
		words = append(words, fmt.Sprintf("%s are being made or taken apart; when that stays, a process died at it: shmheap recover.", size(t.Claimed)))
	}
	if t.Damaged > 0 {
		words = append(words, fmt.Sprintf("%s are damaged: shmheap check says how.", size(t.Damaged)))
	}
	return words
}

func (t *Spaces) gaps() string {
	size := humanize.IBytes
	text := fmt.Sprintf("The largest free run has %s.", size(t.LargestFree))
	if t.FreeBetween == 0 {
		return text + " There are no gaps between what is in use."
	}
	return text + fmt.Sprintf(" Between what is in use %s are free (%s with storage), the largest gap has %s: fragmentation %.0f %%.",
		size(t.FreeBetween), size(min(t.FreeKept, t.FreeBetween)), size(t.LargestGap), 100*t.Fragmentation())
}

// Fragmentation is the share of the free bytes between used ones that the largest gap does not have, from 0 to 1.
func (t *Spaces) Fragmentation() float64 {
	if t.FreeBetween == 0 {
		return 0
	}
	return 1 - float64(t.LargestGap)/float64(t.FreeBetween)
}
