package layout

import (
	"structs"

	"github.com/shmheap/shmheap/internal/mem"
)

// Lease takes the place of a file lock in memory that machines share, which have no locks in common. A table of them
// lies behind the region: one for each slot of the table of peers, and behind those one for each of the other locks. Zero
// bytes are leases that nobody has.
type Lease struct {
	_ structs.HostLayout

	// Holder is 0, or a number that whoever holds the lease has drawn. Changed by CompareAndSwap: to a number by who
	// finds it 0, or finds that Beat has not changed for the term; and to 0 by its holder.
	Holder mem.Word
	// Beat is raised by the holder several times in each term, which says that it is alive. Of the lease of the term it is
	// the term in nanoseconds, stored by the creator.
	Beat mem.Word
	_    [LeaseSize - 16]byte
}

// The leases behind those of the slots.
const (
	LeaseRoots = iota
	LeaseGrowth
	LeaseCreate
	LeaseAlone
	LeaseTerm
	otherLeases

	LeaseSize = 128
)

// LeaseTable returns the bytes of the table of leases, whole granules.
func LeaseTable(maxPeers uint32) uint64 {
	return (uint64(maxPeers+otherLeases)*LeaseSize + GranuleSize - 1) &^ (GranuleSize - 1)
}
