package heap

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// ConflictError tells that this process has something else where the heap must be mapped. It wraps
// the *probe.TakenError, so errors.Is(err, probe.ErrTaken) holds for it.
type ConflictError struct {
	Name  string // of the heap
	Base  uint64 // where it must be mapped
	Size  uint64 // bytes
	Peers []Peer // attached at that base, which is why the heap cannot move
	Err   error  // with what is in the way

	// Inherited says that "shmheap run" reserved the range not for this program but for one that started it.
	Inherited bool
}

// Error says what is in the way, whether starting again may help, what else does, and who is attached.
func (e *ConflictError) Error() string {
	text := e.Err.Error()
	if taken, ok := errors.AsType[*probe.TakenError](e.Err); ok {
		text += again(taken.Classes)
	}
	if e.Inherited {
		text += "; the range was reserved for a program that started this one: give this one itself to \"shmheap run\""
	} else if runtime.GOOS == "linux" {
		text += "; \"shmheap run\" reserves the range before a program begins"
	}
	switch n := len(e.Peers); n {
	case 0:
		return text + "; no peer is attached at that base"
	case 1:
		return fmt.Sprintf("%s; 1 peer is attached at that base: pid %d", text, e.Peers[0].PID)
	default:
		return fmt.Sprintf("%s; %d peers are attached at that base: pid %s", text, n, pids(e.Peers))
	}
}

// Unwrap returns Err.
func (e *ConflictError) Unwrap() error { return e.Err }

// again says whether another start may help: not if one of them is always there, and if all were
// placed at random.
func again(classes []probe.Class) string {
	random := 0
	for _, c := range classes {
		switch c.Placement {
		case probe.Fixed:
			return "; starting the program again cannot help"
		case probe.Random:
			random++
		}
	}
	if random == 0 || random < len(classes) {
		return ""
	}
	return "; starting the program again may help"
}

// pids lists the process ids of some peers.
func pids(peers []Peer) string {
	const shown = 8
	texts := make([]string, min(len(peers), shown))
	for i := range texts {
		texts[i] = strconv.Itoa(peers[i].PID)
	}
	if len(peers) > shown {
		texts = append(texts, "...")
	}
	return strings.Join(texts, ", ")
}

// conflict adds to an error of reserving the base what only this package knows, if something is there.
func (h *Heap) conflict(err error) error {
	if !errors.Is(err, probe.ErrTaken) {
		return err
	}
	g := &h.geometry
	peers, _ := livePeers(h.file, g) // an error about peers would hide the one that matters
	announced, _ := probe.Announced(0)
	span := probe.Range{Start: g.base, End: g.base + g.Size}
	return &ConflictError{Name: g.name, Base: g.base, Size: g.Size, Peers: peers, Err: err, Inherited: slices.Contains(announced, span)}
}

// livePeers reads the attached peers of a heap that is not mapped.
func livePeers(f *os.File, g *geometry) ([]Peer, error) {
	tables := make([]byte, g.Sections.Caches)
	if _, err := f.ReadAt(tables, 0); err != nil {
		return nil, wrapOS(err)
	}
	peers, err := listPeers(peerTable(mem.Over(tables), g), func(id PeerID) (bool, error) {
		return sys.Locked(f, lockPeers+int64(id.Slot()), 1)
	})
	var alive []Peer
	for _, p := range peers {
		if p.Alive {
			alive = append(alive, p)
		}
	}
	return alive, err
}

// Explanation says whether a process can join a heap.
type Explanation struct {
	Info      Info             // of the heap
	Peers     []Peer           // attached at its base
	PID       int              // of the process that was looked at
	Attached  bool             // it has the heap mapped at its base already
	Reserved  bool             // the base was reserved for it when it was started, which was proved: it joins
	Doubt     error            // Conflicts look like such a reservation, and why that cannot be proved
	Conflicts []probe.Conflict // what it has at the base unless Attached or Reserved, ascending
	Inherited bool             // the base was reserved for a program that started it, and not for this one
	Limit     error            // why it cannot join even where nothing is in the way: probe.ErrAddressLimit or ErrBeyond
}

// Free reports whether nothing keeps the process from joining, or it has joined.
func (e *Explanation) Free() bool { return len(e.Conflicts) == 0 && e.Limit == nil }

// Explain looks whether the process pid, or this one where pid is 0, could join the heap now, and names
// and classifies what is in the way. Nothing is mapped or attached. The errors are those of Stat and
// of probe.Of; that a reservation cannot be proved is none, but Explanation.Doubt.
func Explain(name string, pid int, opts *Options) (*Explanation, error) {
	o := opts.orDefault()
	e, err := explainTo(name, pid, &o)
	if err != nil {
		return nil, fmt.Errorf("explain heap %q: %w", name, err)
	}
	return e, nil
}

func explainTo(name string, pid int, o *Options) (*Explanation, error) {
	at, err := locate(name, o)
	if err != nil {
		return nil, err
	}
	e := &Explanation{PID: pid}
	if e.Info, err = statAt(at); err != nil {
		return nil, err
	}
	f, err := at.openNamedWith(sys.OpenAtReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := readSuperblock(f)
	if err != nil {
		return nil, err
	}
	if e.Peers, err = livePeers(f, &g); err != nil {
		return nil, err
	}
	st, err := sys.Stat(f)
	if err != nil {
		return nil, err
	}
	return e, e.look(probe.Range{Start: g.base, End: g.base + g.Size}, st.Inode)
}

// look fills in what the process has in span. inode is that of the heap's file.
func (e *Explanation) look(span probe.Range, inode uint64) error {
	all, err := mappingsOf(e.PID)
	if err != nil {
		return err
	}
	limit := probe.Room(span, e.PID, all)
	if e.PID == 0 {
		e.PID = os.Getpid()
	}
	conflicts := slices.DeleteFunc(probe.Conflicts(span, all), func(c probe.Conflict) bool {
		return c.Class.Kind == probe.KindGuard
	})
	e.Attached = len(conflicts) > 0
	for _, c := range conflicts {
		m := c.Mapping
		e.Attached = e.Attached && (m.Inode == inode || e.kept()) && strings.HasSuffix(m.Perms, "s") && m.Start-m.Offset == span.Start
	}
	if closed(span, conflicts) {
		e.prove(span)
	}
	if !e.Attached && !e.Reserved {
		e.Conflicts, e.Limit = conflicts, limit
		announced, _ := probe.Announced(e.PID) // which is a hint: what is in the way has been seen
		e.Inherited = e.Doubt == nil && len(conflicts) > 0 && slices.Contains(announced, span)
	}
	return nil
}

// kept reports whether the kernel keeps the heap and the process is a peer: its mapping does not lead to the
// file then.
func (e *Explanation) kept() bool {
	return e.Info.Kernel != "" && slices.ContainsFunc(e.Peers, func(p Peer) bool { return p.PID == e.PID })
}

// prove tells a reservation for this process from memory that it keeps for something else.
func (e *Explanation) prove(span probe.Range) {
	ranges, err := probe.ReservedFor(e.PID)
	if e.Reserved = slices.Contains(ranges, span); !e.Reserved {
		e.Doubt = err
	}
}

func mappingsOf(pid int) ([]probe.Mapping, error) {
	if pid == 0 {
		all, err := probe.Self()
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", probe.ErrHidden, err)
		}
		return all, err
	}
	return probe.Of(pid)
}

// closed reports whether private mappings without access, ascending, cover span without a gap.
func closed(span probe.Range, conflicts []probe.Conflict) bool {
	next := span.Start
	for _, c := range conflicts {
		if c.Mapping.Perms != "---p" || c.Mapping.Start > next {
			return false
		}
		next = c.Mapping.End
	}
	return next >= span.End
}
