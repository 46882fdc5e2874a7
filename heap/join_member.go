package heap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"time"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

const maxProgram = layout.ProgramSize - 1

// follow talks to a coordinator until it commits, fails or is gone. It never returns nil; errAgain says
// that it is time to look for the heap.
func (j *joining) follow(ctx context.Context, conn *net.UnixConn) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	crashpoint.Hit("heap.join.after-connect")
	err := say(conn, &message{Kind: helloKind, Hello: j.hello()})
	crashpoint.Hit("heap.join.after-hello")
	silent := coordinatorAt(conn)
	for err == nil {
		var m *message
		if m, err = readMessage(conn); err == nil {
			j.heard, silent = true, nil
			err = j.obey(conn, m)
		}
	}
	if _, told := errors.AsType[*JoinError](err); told {
		return err
	}
	if ctx.Err() != nil {
		j.story.Silent = silent
		return j.ended(context.Cause(ctx))
	}
	return errAgain // whatever was said wrong, it was not a heap
}

// coordinatorAt returns who listens at the other end, as far as that can be told: also of one that is stopped.
func coordinatorAt(conn *net.UnixConn) []Member {
	pid, err := checkPeer(conn)
	if err != nil || pid == 0 {
		return nil
	}
	return []Member{{PID: pid, Program: "coordinator"}}
}

// say sends a message. A connection that takes nothing more is no error yet: what the coordinator said
// before it left, that there will be no heap perhaps, is still to be read. Ending our side makes one that
// has not left end its own, so that reading does not wait for ever.
func say(conn *net.UnixConn, m *message) error {
	err := writeMessage(conn, m)
	if _, broken := errors.AsType[*net.OpError](err); !broken {
		return err
	}
	_ = conn.CloseWrite() // of no use where the other side is gone
	return nil
}

// hello describes this process as it is now.
func (j *joining) hello() *hello {
	gaps, err := probe.Gaps(j.wish.Size, &probe.Options{Above: j.wish.Above})
	bits, bitsErr := sys.AddressBits()
	if bitsErr != nil {
		bits = 0
	}
	sanitizer, _ := probe.Sanitizer() // what cannot be told is not
	var headroom *uint64
	if left := probe.Headroom(); left != math.MaxUint64 {
		headroom = &left
	}
	return &hello{
		Member: j.self, Wish: j.wish, Bits: bits, Known: err == nil,
		Gaps: gaps[:min(len(gaps), maxGaps)], Refused: slices.Clone(j.refused),
		Reserved: j.handed(), Sanitizer: sanitizer, Headroom: headroom,
	}
}

// handed returns what a launcher reserved for this process and fits the heap.
func (j *joining) handed() []probe.Range {
	ranges, _ := probe.ReservedFor(j.self.PID) // what cannot be proved was not
	ranges = slices.DeleteFunc(ranges, func(r probe.Range) bool {
		return r.Size() != j.wish.Size || j.wish.Base != 0 && r.Start != j.wish.Base
	})
	return ranges[:min(len(ranges), maxReserved)]
}

// obey does what one message asks for.
func (j *joining) obey(conn *net.UnixConn, m *message) error {
	switch m.Kind {
	case rosterKind:
		j.story.Present, j.story.Members = m.Count, m.Roster
		return nil
	case proposeKind:
		err := say(conn, j.consider(m))
		crashpoint.Hit("heap.join.after-answer")
		return err
	case abortKind:
		j.release()
		crashpoint.Hit("heap.join.after-abort")
		return nil
	case commitKind:
		crashpoint.Hit("heap.join.after-commit")
		return errAgain
	case failKind:
		return j.ended(fmt.Errorf("%w: %s", failures[m.Code], m.Reason))
	}
	return fmt.Errorf("%w: %q from a coordinator", errProtocol, m.Kind)
}

// consider answers a proposal.
func (j *joining) consider(m *message) *message {
	crashpoint.Hit("heap.join.before-reserve")
	known := len(j.refused)
	err := j.reserve(m.Base)
	crashpoint.Hit("heap.join.after-reserve")
	if err == nil {
		return &message{Kind: reserveKind, Round: m.Round}
	}
	return &message{
		Kind: refuseKind, Round: m.Round, Reason: cutText(err.Error()),
		Refused: j.refused[min(known, len(j.refused)-1):],
	}
}
