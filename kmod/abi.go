package kmod

import "structs"

// What programs and the module say to each other, as in uapi/shmheap_kmod.h: a test has the C compiler prove
// that both say the same.
const (
	// Version is the module's version of the interface that this package speaks.
	Version = 1

	// DevicePath is where the module's device is.
	DevicePath = "/dev/shmheap"

	// MaxChannels is how many channels an instance has.
	MaxChannels = 64

	// ControlWords is how many control words an instance has.
	ControlWords = 512

	nameSize   = 64
	mapRegion  = 0
	mapControl = 1 << 56

	flagNonblock     = 1 << 0
	flagNoMap        = 1 << 1
	flagOldest       = 1 << 2
	statUnlinked     = 1 << 0
	noWait           = 0
	recordLost       = 0xffff
	recordHeader     = 24
	streamMagic      = 0x4d41525453484d53
	streamHeaderSize = 56
	ringHeader       = 16
	messageHeader    = 16
	smallestBlock    = 32
	mostCopyOrder    = 12
	longestCopy      = 65536
	mostStreamOrder  = 16
	shortestSlot     = 64
	longestSlot      = 4096
	messageAlignment = 8
)

// Numbers of the calls.
const (
	iocInfo    = 0xc040b700
	iocCreate  = 0xc070b701
	iocOpen    = 0xc068b702
	iocStat    = 0xc0a8b710
	iocUnlink  = 0x0000b711
	iocPeers   = 0xc020b712
	iocQueue   = 0xc020b713
	iocStream  = 0xc018b714
	iocCopies  = 0xc018b715
	iocSend    = 0xc030b716
	iocReceive = 0xc030b717
	iocWait    = 0xc010b720
	iocKick    = 0x0000b721
	iocEventFD = 0xc010b722
	iocQStat   = 0xc060b723
	iocSeen    = 0xc018b730
)

type infoArgs struct {
	_            structs.HostLayout
	Size         uint32
	Version      uint32
	Features     uint64
	PageSize     uint32
	Granule      uint32
	MaxBytes     uint64
	Quota        uint64
	Used         uint64
	MaxInstances uint32
	Instances    uint32
	MaxChannels  uint32
	Pad          uint32
}

type createArgs struct {
	_           structs.HostLayout
	Size        uint32
	Flags       uint32
	Name        [nameSize]byte
	Base        uint64
	Bytes       uint64
	Mode        uint32
	StreamSlot  uint32
	StreamOrder uint32
	FD          int32
	ID          uint64
}

type openArgs struct {
	_     structs.HostLayout
	Size  uint32
	Flags uint32
	Name  [nameSize]byte
	Base  uint64
	Bytes uint64
	ID    uint64
	FD    int32
	Pad   uint32
}

type statArgs struct {
	_        structs.HostLayout
	Size     uint32
	Flags    uint32
	Name     [nameSize]byte
	ID       uint64
	Base     uint64
	Bytes    uint64
	Stored   uint64
	Pinned   uint64
	Peers    uint64
	Released uint64
	Refused  uint64
	Faults   uint64
	Pad      [3]uint64
}

type peersArgs struct {
	_        structs.HostLayout
	Size     uint32
	Flags    uint32
	Deadline uint64
	Released uint64
	Peers    uint64
}

type queueArgs struct {
	_       structs.HostLayout
	Size    uint32
	Flags   uint32
	Offset  uint64
	Channel uint32
	Role    uint32
	Block   uint32
	FD      int32
}

type messageArgs struct {
	_     structs.HostLayout
	ID    uint64
	Type  uint32
	Bytes uint32
}

type waitArgs struct {
	_        structs.HostLayout
	Size     uint32
	Flags    uint32
	Deadline uint64
}

type eventFDArgs struct {
	_     structs.HostLayout
	Size  uint32
	Flags uint32
	FD    int32
	Pad   uint32
}

type queueStatArgs struct {
	_        structs.HostLayout
	Size     uint32
	Flags    uint32
	Pushed   uint64
	Popped   uint64
	Full     uint64
	Bad      uint64
	Lost     uint64
	Wakes    uint64
	Kicks    uint64
	Stranded uint64
	Pad      [3]uint64
}

type copiesArgs struct {
	_       structs.HostLayout
	Size    uint32
	Flags   uint32
	Channel uint32
	Order   uint32
	Block   uint32
	Pad     uint32
}

type copyArgs struct {
	_        structs.HostLayout
	Size     uint32
	Flags    uint32
	Channel  uint32
	Capacity uint32
	Deadline uint64
	Data     uint64
	Message  messageArgs
}

type streamOpenArgs struct {
	_     structs.HostLayout
	Size  uint32
	Flags uint32
	Bytes uint64
	FD    int32
	Pad   uint32
}

type seenArgs struct {
	_     structs.HostLayout
	Size  uint32
	Flags uint32
	Rings uint64
	CPUs  uint32
	Pad   uint32
}

type streamHeader struct {
	_       structs.HostLayout
	Magic   uint64
	Version uint32
	CPUs    uint32
	Slot    uint32
	Order   uint32
	Rings   uint64
	Stride  uint64
	Slots   uint64
	Bytes   uint64
}

type recordArgs struct {
	_     structs.HostLayout
	Seq   uint64
	Time  uint64
	Bytes uint16
	Type  uint16
	CPU   uint32
}
