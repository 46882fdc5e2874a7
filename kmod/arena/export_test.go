package arena

// QueueOffsets are the places of words in a queue's header, for tests.
var QueueOffsets = map[string]uintptr{
	"State": queueState, "Tail": queueTail, "Head": queueHead, "Pops": queuePops, "Pushes": queuePushes, "Dropped": queueDropped,
}

// DeathTable is for tests.
var DeathTable = deathTable

// RoundsGaps is for tests.
var RoundsGaps = roundsGaps
