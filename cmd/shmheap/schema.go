package main

import (
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// The types in this file are what --json prints. Their names are stable.

// heapJSON is a heap as "ls" and "init" print it.
type heapJSON struct {
	Name       string    `json:"name"`
	Path       string    `json:"path"`
	ID         string    `json:"id"`
	Base       string    `json:"base"` // hexadecimal
	Size       uint64    `json:"size"` // bytes, like all sizes
	Committed  uint64    `json:"committed"`
	Limit      uint64    `json:"limit"` // 0: none
	PageSize   uint32    `json:"page_size"`
	Version    uint32    `json:"version"`
	Created    time.Time `json:"created"`
	PeersAlive int       `json:"peers_alive"`
	Error      string    `json:"error,omitempty"` // why there is nothing but name and path
}

func newHeapJSON(i heap.Info) heapJSON {
	j := heapJSON{
		Name: i.Name, Path: i.Path, ID: i.ID, Base: hex(i.Base), Size: i.Size, Committed: i.Committed, Limit: i.Limit,
		PageSize: i.PageSize, Version: i.Version, Created: i.Created.UTC(), PeersAlive: i.Peers,
	}
	if i.Err != nil {
		j.Error = i.Err.Error()
	}
	return j
}

// infoJSON is a heap as "info" prints it.
type infoJSON struct {
	heapJSON
	Peers     []peerJSON    `json:"peers"`
	Roots     []rootJSON    `json:"roots"`
	Allocator allocatorJSON `json:"allocator"`
}

type peerJSON struct {
	ID       string    `json:"id"`
	PID      int       `json:"pid"`
	UID      int       `json:"uid"`
	Program  string    `json:"program"`
	Attached time.Time `json:"attached"`
	Alive    bool      `json:"alive"`
	Held     uint64    `json:"held"`  // bytes of its slabs, large blocks and arenas
	Quota    uint64    `json:"quota"` // bytes, 0: none
	Allocs   uint64    `json:"allocs"`
	Frees    uint64    `json:"frees"`
}

func newPeerJSON(p heap.Peer) peerJSON {
	return peerJSON{
		ID: p.ID.String(), PID: int(p.PID), UID: int(p.UID), Program: p.Program,
		Attached: p.Attached.UTC(), Alive: p.Alive,
	}
}

// add adds what the peer holds and has done.
func (p *peerJSON) add(u *alloc.PeerUsage) {
	p.Held, p.Quota = u.Held(), u.Quota
	p.Allocs, p.Frees = u.Allocs+u.LargeAllocs, u.LocalFrees+u.RemoteFrees+u.LargeFrees
}

type rootJSON struct {
	Name        string `json:"name"`
	Offset      uint64 `json:"offset"`  // from the base
	Address     string `json:"address"` // hexadecimal
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"` // hexadecimal
}

func newRootJSON(r heap.Root, base uint64) rootJSON {
	return rootJSON{
		Name: r.Name, Offset: r.Offset, Address: hex(base + r.Offset),
		Type: r.TypeName, Fingerprint: hex(uint64(r.Type)),
	}
}

type allocatorJSON struct {
	Live         uint64      `json:"live"` // blocks
	LiveBytes    uint64      `json:"live_bytes"`
	FreeBlocks   uint64      `json:"free_blocks"`
	Uncollected  uint64      `json:"uncollected"` // free blocks that the owner of the slab has not taken back
	Private      uint64      `json:"private"`     // live blocks that die with their cache
	PrivateBytes uint64      `json:"private_bytes"`
	Published    uint64      `json:"published"` // live blocks that were private
	Samples      uint64      `json:"samples"`   // live blocks that the profile tells of
	Slabs        uint64      `json:"slabs"`
	SlabBytes    uint64      `json:"slab_bytes"`
	Unowned      uint64      `json:"unowned"` // slabs of nobody
	Large        uint64      `json:"large"`   // blocks with spans of their own
	LargeBytes   uint64      `json:"large_bytes"`
	Arenas       uint64      `json:"arenas"`
	ArenasPublic uint64      `json:"arenas_published"`
	ArenaChunks  uint64      `json:"arena_chunks"`
	ArenaUsed    uint64      `json:"arena_used"`  // bytes of their blocks
	ArenaBytes   uint64      `json:"arena_bytes"` // of their chunks
	Claimed      uint64      `json:"claimed"`     // spans being made or taken apart
	ClaimedBytes uint64      `json:"claimed_bytes"`
	FreeGranules uint64      `json:"free_granules"`
	Retained     uint64      `json:"retained_granules"` // free ones that have storage
	ProfileRate  uint64      `json:"profile_rate"`      // bytes allocated for each sample
	Committed    uint64      `json:"committed"`
	Classes      []classJSON `json:"classes"` // those in use
}

type classJSON struct {
	Size  uint64 `json:"size"`
	Slabs uint64 `json:"slabs"`
	Live  uint64 `json:"live"`
	Free  uint64 `json:"free"`
}

func newAllocatorJSON(s alloc.Stats) allocatorJSON {
	j := allocatorJSON{
		Live: s.Live, LiveBytes: s.LiveBytes, FreeBlocks: s.FreeBlocks, Uncollected: s.Uncollected,
		Private: s.Private, PrivateBytes: s.PrivateBytes, Published: s.Published, Samples: s.Samples,
		Slabs: s.Slabs, SlabBytes: s.SlabBytes, Unowned: s.Unowned, Large: s.Large, LargeBytes: s.LargeBytes,
		Claimed: s.Claimed, ClaimedBytes: s.ClaimedBytes, Retained: s.Retained, ProfileRate: s.ProfileRate,
		Arenas: s.Arenas, ArenasPublic: s.ArenasPublished, ArenaChunks: s.ArenaChunks, ArenaUsed: s.ArenaUsed, ArenaBytes: s.ArenaBytes,
		FreeGranules: s.FreeGranules, Committed: s.Committed, Classes: []classJSON{},
	}
	for _, c := range s.Classes {
		if c.Slabs > 0 {
			j.Classes = append(j.Classes, classJSON{
				Size: uint64(c.Size), Slabs: uint64(c.Slabs), Live: uint64(c.Live), Free: uint64(c.Free),
			})
		}
	}
	return j
}
