package heap

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/probe"
)

// A frame is the length of a message in four bytes, little-endian, and the message as JSON. Who sends
// more than these limits is not one of us.
const (
	maxFrame   = 64 << 10
	maxText    = 1 << 10 // bytes of a text for people
	maxGaps    = 512
	maxRefused = 128 // ranges that a member remembers having refused
	maxRoster  = 32  // members named to the others
	// maxReserved is how many ranges that a launcher reserved a member tells of.
	maxReserved = 16
	// MaxMembers is the most members that Join waits for. Any number may come later.
	MaxMembers = 256
)

// kind of a message. The comments say who sends it.
type kind string

const (
	helloKind   kind = "hello"   // member: who I am, what I want, what is free here
	rosterKind  kind = "roster"  // coordinator: who is here
	proposeKind kind = "propose" // coordinator: reserve this base
	reserveKind kind = "reserve" // member: done
	refuseKind  kind = "refuse"  // member: cannot, and why
	abortKind   kind = "abort"   // coordinator: release it again
	commitKind  kind = "commit"  // coordinator: the heap is there, open it
	failKind    kind = "fail"    // coordinator: there will be no agreement
)

// message is what members and coordinator say to each other. Each kind uses the fields that its line
// in valid names, and the others are zero.
type message struct {
	Kind    kind          `json:"kind"`
	Round   uint64        `json:"round,omitempty"`   // of proposals; counts up while one coordinator lives
	Base    uint64        `json:"base,omitempty"`    // proposed
	Hello   *hello        `json:"hello,omitempty"`   // of helloKind
	Refused []probe.Range `json:"refused,omitempty"` // taken in the proposed range, or all of that
	Count   int           `json:"count,omitempty"`   // of the members that are here
	Roster  []Member      `json:"roster,omitempty"`  // the first of them
	Reason  string        `json:"reason,omitempty"`  // for people
	Code    string        `json:"code,omitempty"`    // of failKind: a key of failures
}

// hello introduces a member.
type hello struct {
	Member
	Wish    wish          `json:"wish"`
	Bits    int           `json:"bits"`              // width of an address, 0 where it is not known
	Known   bool          `json:"known"`             // Gaps are all that there are
	Gaps    []probe.Range `json:"gaps,omitempty"`    // in the windows, with room for the heap
	Refused []probe.Range `json:"refused,omitempty"` // by this member, to coordinators before this one
	// Reserved were reserved for it by a launcher, each of the heap's size: it can have those too.
	Reserved  []probe.Range `json:"reserved,omitempty"`
	Sanitizer string        `json:"sanitizer,omitempty"` // that it runs with: a name of package probe
	Headroom  *uint64       `json:"headroom,omitempty"`  // bytes of addresses that RLIMIT_AS leaves it; nil: no limit
}

// avoid returns where a member has no room, what it refused, and where its sanitizer is.
func (h *hello) avoid() []probe.Range {
	avoid := append(probe.SanitizerRanges(h.Sanitizer), h.Refused...)
	if !h.Known {
		return avoid
	}
	var end uint64
	for _, gap := range h.Gaps { // not necessarily ascending, coming from elsewhere: then more is avoided
		avoid = append(avoid, probe.Range{Start: end, End: gap.Start})
		end = max(end, gap.End)
	}
	return append(avoid, probe.Range{Start: end, End: math.MaxUint64})
}

// takes reports whether a member can have r, as far as it said. Its own reservation is in no gap.
func (h *hello) takes(r probe.Range) bool {
	if slices.ContainsFunc(h.Refused, r.Overlaps) || h.sanitized(r) {
		return false
	}
	return !h.Known || slices.Contains(h.Reserved, r) || slices.ContainsFunc(h.Gaps, func(gap probe.Range) bool {
		return gap.Start <= r.Start && r.End <= gap.End
	})
}

// sanitized reports whether r overlaps what the member's sanitizer needs.
func (h *hello) sanitized(r probe.Range) bool {
	return slices.ContainsFunc(probe.SanitizerRanges(h.Sanitizer), r.Overlaps)
}

// short reports whether the member's limit leaves too few addresses for the heap.
func (h *hello) short() bool {
	return h.Headroom != nil && *h.Headroom < h.Wish.Size && len(h.Reserved) == 0
}

// wish is what all members must want alike.
type wish struct {
	System    string `json:"system"` // GOOS/GOARCH
	Page      int    `json:"page"`   // size of a page of the system in bytes
	Members   int    `json:"members"`
	Size      uint64 `json:"size"` // of the region, in bytes, in whole granules
	Base      uint64 `json:"base"` // 0: any
	Above     bool   `json:"above"`
	MaxPeers  uint32 `json:"max_peers"`
	MaxRoots  uint32 `json:"max_roots"`
	MaxCaches uint32 `json:"max_caches"`
}

// against says what w has otherwise than o.
func (w wish) against(o wish) string {
	var parts []string
	for _, part := range []struct {
		name string
		w, o any
	}{
		{"system", w.System, o.System}, {"pages", w.Page, o.Page}, {"members", w.Members, o.Members}, {"size", w.Size, o.Size},
		{"base", w.Base, o.Base}, {"above", w.Above, o.Above}, {"max peers", w.MaxPeers, o.MaxPeers},
		{"max roots", w.MaxRoots, o.MaxRoots}, {"max caches", w.MaxCaches, o.MaxCaches},
	} {
		if part.w != part.o {
			parts = append(parts, fmt.Sprintf("%s %v, not %v", part.name, part.w, part.o))
		}
	}
	return strings.Join(parts, "; ")
}

// Member is a process that came to Join.
type Member struct {
	PID     int    `json:"pid"`     // as the coordinator sees it
	Program string `json:"program"` // the last part of the command's name, cut to 31 bytes
}

// String returns "12 (worker)".
func (m Member) String() string { return fmt.Sprintf("%d (%s)", m.PID, m.Program) }

// writeMessage sends one frame.
func writeMessage(w io.Writer, m *message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxFrame {
		return fmt.Errorf("%w: message of %d bytes", errProtocol, len(text))
	}
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text)))
	_, err = w.Write(append(frame, text...))
	return err
}

// readMessage receives one frame. What it returns without an error is valid.
func readMessage(r io.Reader) (*message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("%w: message of %d bytes", errProtocol, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	m := new(message)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	if !m.valid() {
		return nil, fmt.Errorf("%w: %q message with bad fields", errProtocol, m.Kind)
	}
	return m, nil
}

// valid reports whether the fields that the kind uses are in range. The others are not looked at by
// anyone.
func (m *message) valid() bool {
	switch m.Kind {
	case helloKind:
		return m.Hello != nil && m.Hello.valid()
	case rosterKind:
		return m.Count >= 0 && m.Count <= 2*MaxMembers && validRoster(m.Roster)
	case proposeKind:
		return m.Round > 0 && m.Base > 0 && m.Base%layout.GranuleSize == 0
	case refuseKind:
		return m.Round > 0 && validText(m.Reason) && len(m.Refused) > 0 && validRanges(m.Refused, maxRefused)
	case reserveKind, abortKind:
		return m.Round > 0
	case commitKind:
		return true
	case failKind:
		return failures[m.Code] != nil && validText(m.Reason) && validRoster(m.Roster)
	}
	return false
}

func (h *hello) valid() bool {
	w := &h.Wish
	_, err := layout.NewGeometry(w.Size, w.MaxRoots, w.MaxPeers, w.MaxCaches)
	return err == nil && h.Member.valid() && w.Members >= 1 && w.Members <= MaxMembers && len(w.System) <= maxText &&
		h.Bits >= 0 && h.Bits <= 64 && validRanges(h.Gaps, maxGaps) && validRanges(h.Refused, maxRefused) &&
		validRanges(h.Reserved, maxReserved) && validText(h.Sanitizer)
}

func (m Member) valid() bool {
	return m.PID >= 0 && len(m.Program) < layout.ProgramSize && !strings.ContainsFunc(m.Program, isControl)
}

func validRoster(roster []Member) bool {
	for _, m := range roster {
		if !m.valid() {
			return false
		}
	}
	return len(roster) <= maxRoster
}

func validRanges(ranges []probe.Range, most int) bool {
	for _, r := range ranges {
		if r.Start >= r.End {
			return false
		}
	}
	return len(ranges) <= most
}

func validText(s string) bool {
	return len(s) <= maxText && !strings.ContainsFunc(s, isControl)
}

// cutText makes a text valid.
func cutText(s string) string {
	s = strings.Map(func(c rune) rune {
		if isControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	for len(s) > maxText {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "")
}
