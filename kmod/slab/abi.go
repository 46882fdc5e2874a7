package slab

import "structs"

// DevicePath is where the module's device is.
const DevicePath = "/dev/shmheap_slab"

// Limits of a cache, as in kmod/uapi/shmheap_slab.h: a test has the C compiler prove that both say the same.
const (
	MinSize  = 8
	MaxSize  = 65536
	MaxAlign = 4096
)

// Flags are those of a cache: the kernel's SLAB_ of the same name (include/linux/slab.h).
type Flags uint32

// Bits of Flags.
const (
	HWCacheAlign Flags = 1 << iota
	ReclaimAccount
	Account
	TypesafeByRCU
	Poison
	RedZone
	StoreUser
	ConsistencyChecks
)

// How is how objects are allocated.
type How uint32

// Bits of How.
const (
	Zero   How = 1 << iota // with __GFP_ZERO
	NoWait                 // with GFP_NOWAIT instead of GFP_KERNEL
	Fill                   // and all bytes of each are written: Free looks whether they have changed
)

type createArgs struct {
	_          structs.HostLayout
	Size       uint32
	Align      uint32
	Flags      Flags
	ID         uint32
	MaxObjects uint64
	Pad        uint64
}

type allocArgs struct {
	_     structs.HostLayout
	Count uint64
	Done  uint64
	How   How
	Pad   uint32
}

type freeArgs struct {
	_       structs.HostLayout
	First   uint64
	Stride  uint64
	Count   uint64
	Done    uint64
	Changed uint64
}

type statArgs struct {
	_         structs.HostLayout
	ID        uint32
	Size      uint32
	Live      uint64
	Slots     uint64
	Allocated uint64
	Freed     uint64
	Caches    uint64
}

// Numbers of the calls.
const (
	iocCreate = 0xc020b800
	iocAlloc  = 0xc018b801
	iocFree   = 0xc028b802
	iocStat   = 0x8030b803
)
