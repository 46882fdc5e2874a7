package heap

import (
	"fmt"
	"strings"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
)

// Report is what a check found.
type Report struct {
	Problems []string // damage, each with its address
	Cut      bool     // the file was cut: what was not looked at would raise SIGBUS
	Notes    []string // what is not damage but worth knowing: dead peers, operations under way
}

// Problem adds damage.
func (r *Report) Problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// Note adds a remark.
func (r *Report) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Err returns nil when nothing is damaged, and otherwise an ErrCorrupt that names the first problems.
func (r *Report) Err() error {
	const shown = 5
	switch n := len(r.Problems); {
	case n == 0:
		return nil
	case n > shown:
		return fmt.Errorf("%w: %s; and %d more", ErrCorrupt, strings.Join(r.Problems[:shown], "; "), n-shown)
	default:
		return fmt.Errorf("%w: %s", ErrCorrupt, strings.Join(r.Problems, "; "))
	}
}

// Check walks everything this package keeps in the heap: superblock, file, committed bitmap, peers and
// roots. It may run while peers work.
func (h *Heap) Check() *Report {
	r := new(Report)
	if err := h.enter(); err != nil {
		r.Problem("%v", err)
		return r
	}
	defer h.leave()
	if !h.checkFile(r) {
		return r
	}
	h.checkSuperblock(r)
	h.checkCommitted(r)
	h.checkPeers(r)
	h.checkRoots(r)
	return r
}

func (h *Heap) checkSuperblock(r *Report) {
	g, err := parseSuperblock(h.memory)
	if err != nil {
		r.Problem("superblock at %#x: %v", h.geometry.base, err)
	} else if g != h.geometry {
		r.Problem("superblock at %#x changed since the heap was opened", h.geometry.base)
	}
	if f := h.super.Frontier.Load(); f > h.geometry.Granules() {
		r.Problem("frontier %d is beyond the %d granules of the region", f, h.geometry.Granules())
	}
}

// checkFile reports whether the tables can be looked at: those of a file that was cut may be gone.
func (h *Heap) checkFile(r *Report) bool {
	st, err := sys.Stat(h.file)
	switch {
	case err != nil:
		r.Problem("file: %v", err)
	case uint64(st.Size) < h.geometry.Size:
		r.Cut = true
		r.Problem("file was cut to %d bytes: touching the rest raises SIGBUS", st.Size)
	case h.canAllocate && h.lacksStorage(): // others may not count, or compress
		r.Problem("file has storage for %d bytes, the committed bitmap says %d", st.Allocated, committedBytes(h.committed))
	}
	if err := h.sharing.checkFile(h.file); err != nil && h.leases == nil {
		r.Problem("file: %v", err)
	}
	return err == nil && uint64(st.Size) >= h.geometry.Sections.Caches
}

// lacksStorage reports whether the file has less storage than the bitmap says. Peers commit and decommit
// meanwhile, so that only what stays so counts.
func (h *Heap) lacksStorage() bool {
	for range 100 {
		committed := committedBytes(h.committed)
		st, err := sys.Stat(h.file)
		if err != nil || uint64(st.Allocated) >= committed {
			return false
		}
	}
	return true
}

func (h *Heap) checkCommitted(r *Report) {
	n := h.geometry.Granules()
	if tail := n % 64; tail != 0 && h.committed[n/64].Load()>>tail != 0 {
		r.Problem("committed bitmap at %#x has bits behind the end", h.geometry.base+h.geometry.Sections.Committed)
	}
	for g := uint64(0); g<<layout.GranuleShift < h.geometry.Sections.Caches; g++ {
		if !h.isCommitted(g) {
			r.Problem("granule %d holds tables and is not committed", g)
		}
	}
}

func (h *Heap) checkPeers(r *Report) {
	for slot := range h.peers {
		state := h.peers[slot].State.Load()
		kind, generation := state&(1<<layout.PeerStateBits-1), state>>layout.PeerStateBits
		if kind > layout.PeerAttached || generation>>layout.PeerGenBits != 0 || kind == layout.PeerAttached && generation == 0 {
			r.Problem("peer slot %d has state %#x", slot, state)
		}
	}
	peers, err := listPeers(h.peers, h.alive)
	if err != nil {
		r.Problem("peers: %v", err)
	}
	for _, p := range peers {
		if !p.Alive {
			r.Note("peer %s, %s with pid %d, is dead", p.ID, p.Program, p.PID)
		}
	}
}

func (h *Heap) checkRoots(r *Report) {
	seen := make(map[string]bool)
	for i := range h.roots {
		root, ok, err := h.readRoot(&h.roots[i])
		switch {
		case err != nil:
			r.Problem("root entry %d: %v", i, err)
		case !ok:
		case h.checkRoot(root) != nil:
			r.Problem("root entry %d: %v", i, h.checkRoot(root))
		case seen[root.Name]:
			r.Problem("root entry %d: %q is there twice", i, root.Name)
		}
		if ok {
			seen[root.Name] = true
		}
	}
}
