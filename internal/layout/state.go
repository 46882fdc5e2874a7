package layout

// Kind is what a granule is: the low bits of its state word.
type Kind uint8

// Kinds of a granule. A tail's fate follows its head's: whoever owns the head owns the tails.
const (
	KindFree    Kind = 0 // nobody's; only this kind may be claimed
	KindClaimed Kind = 1 // head of a run that a cache is making or taking apart
	KindTail    Kind = 2 // further granule of a run
	KindSlab    Kind = 3 // head of a slab: blocks of one size class
	KindLarge   Kind = 4 // head of one large block
	KindArena   Kind = 5 // head of an arena: its first chunk
	KindChunk   Kind = 6 // head of a further chunk of an arena, owned by whoever owns the arena's head
)

// Flags of a slab. They are part of the state, so that the short way of free, which compares the state with
// that of the cache's ordinary slabs, leaves all others to the long way.
const (
	FlagPrivate State = 1 << 4 // its blocks die with the cache unless they are published
	FlagSampled State = 1 << 5 // its blocks are samples of the allocation profile
	flagMask    State = 0xf0
)

// State is a granule's state word. Every transition is one CompareAndSwap.
//
//	bits  0-3   kind
//	bits  4-7   flags (slab)
//	bits  8-15  size class (slab)
//	bits 16-31  owning cache, 0 is nobody (claimed, slab, large and arena: an owned one of these is private)
//	bits 32-63  length of the run in granules (all heads), or a tail's distance from its head
type State uint64

// MakeState packs a state word. n is the length of the run, or the distance of a tail.
func MakeState(k Kind, class int, cache uint16, n uint64) State {
	return State(uint64(k) | uint64(uint8(class))<<8 | uint64(cache)<<16 | n<<32)
}

// Kind returns what the granule is.
func (s State) Kind() Kind { return Kind(s & 0xf) }

// Class returns the size class of a slab.
func (s State) Class() int { return int(uint8(s >> 8)) }

// Cache returns the owning cache, 0 for nobody.
func (s State) Cache() uint16 { return uint16(s >> 16) }

// Flags returns the flags of a slab.
func (s State) Flags() State { return s & flagMask }

// Run returns the number of granules of the run that this granule heads.
func (s State) Run() uint64 { return uint64(s) >> 32 }

// Distance returns how many granules a tail is behind its head.
func (s State) Distance() uint64 { return uint64(s) >> 32 }

// Disown returns the same state without an owner: what nobody owns is shared.
func (s State) Disown() State { return s &^ (0xffff<<16 | FlagPrivate) }

// Own returns the same state owned by cache.
func (s State) Own(cache uint16) State { return s&^(0xffff<<16) | State(cache)<<16 }

// Valid reports whether the word has a known kind, no stray bits, and a length that is not zero.
func (s State) Valid() bool {
	switch s.Kind() {
	case KindFree:
		return s == 0
	case KindTail:
		return s == MakeState(KindTail, 0, 0, s.Distance()) && s.Distance() != 0
	case KindSlab:
		return s == MakeState(KindSlab, s.Class(), s.Cache(), s.Run())|s&(FlagPrivate|FlagSampled) && s.Class() < NumClasses &&
			s.Run() == uint64(Classes[s.Class()].Granules) && s.validFlags()
	case KindClaimed, KindLarge, KindArena:
		return s == MakeState(s.Kind(), 0, s.Cache(), s.Run()) && s.Run() != 0
	case KindChunk:
		return s == MakeState(KindChunk, 0, 0, s.Run()) && s.Run() != 0
	}
	return false
}

// validFlags: nobody's slab has no private blocks, samples are not private, and each has its word.
func (s State) validFlags() bool {
	switch s.Flags() {
	case 0:
		return true
	case FlagPrivate:
		return s.Cache() != 0
	}
	return s.Flags() == FlagSampled && Classes[s.Class()].Blocks <= SampleBlocks
}
