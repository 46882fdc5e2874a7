package heap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// accept takes connections until the listener is closed, and starts a reader for each.
func (c *coordinator) accept() {
	for {
		conn, err := c.listener.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, most likely: members try again
			select {
			case <-c.done:
				return
			case <-time.After(maxPause):
			}
			continue
		}
		pid, err := checkPeer(conn)
		g := &guest{conn: conn, who: Member{PID: pid}}
		if err != nil || !c.send(event{from: g}) {
			_ = conn.Close() // not one of us, or too late
			continue
		}
		c.running.Go(func() { c.read(g) })
	}
}

// send hands an event over, and reports false when nobody takes it any more.
func (c *coordinator) send(e event) bool {
	select {
	case c.events <- e:
		return true
	case <-c.done:
		return false
	}
}

// read passes on what a guest says until it is gone.
func (c *coordinator) read(g *guest) {
	_ = g.conn.SetReadDeadline(time.Now().Add(helloPatience)) // an error shows when reading
	for {
		m, err := readMessage(g.conn)
		if !c.send(event{from: g, message: m, err: err}) || err != nil {
			return
		}
		_ = g.conn.SetReadDeadline(time.Time{})
	}
}

// handle changes the state by one event. What a guest said before it was dropped does not count.
func (c *coordinator) handle(e event) {
	g := e.from
	switch {
	case e.message == nil && e.err == nil:
		c.admit(g)
	case !c.guests[g]:
	case e.err != nil:
		c.drop(g)
	case g.hello == nil:
		c.welcome(g, e.message)
	default:
		c.answer(g, e.message)
	}
}

// welcome takes a HELLO, and turns away who wants something else than this process.
func (c *coordinator) welcome(g *guest, m *message) {
	if m.Kind != helloKind {
		c.drop(g)
		return
	}
	g.who.Program = m.Hello.Program
	if g.who.PID == 0 { // of another pid namespace: what it calls itself is better than nothing
		g.who.PID = m.Hello.PID
	}
	if m.Hello.Wish != c.wish {
		reason := fmt.Sprintf("pid %v wants %s", g.who, m.Hello.Wish.against(c.wish))
		c.disagree(cutText(reason))
		c.tell(g, &message{Kind: failKind, Code: "disagree", Reason: cutText(fmt.Sprintf("%s as pid %v", reason, c.self))})
		c.drop(g)
		return
	}
	m.Hello.Member = g.who // for what is said of it
	g.hello = m.Hello
	c.announce()
}

// answer takes a RESERVE or a REFUSE, one from each in a round. One of an earlier round was sent before
// its ABORT arrived.
func (c *coordinator) answer(g *guest, m *message) {
	switch {
	case m.Kind != reserveKind && m.Kind != refuseKind:
		c.drop(g)
	case m.Round != c.round || !g.pending:
	case m.Kind == refuseKind:
		g.pending, c.refusal = false, true
		g.hello.Refused = append(g.hello.Refused, m.Refused...)
		c.refuse(g.who, m.Reason)
	default:
		g.pending = false
	}
}

// refuse adds a refusal to the story.
func (c *coordinator) refuse(who Member, reason string) {
	c.story.Refused = append(c.story.Refused, fmt.Sprintf("pid %v: %s", who, reason))
}

// disagree adds to the story who was turned away. Some may come again and again.
func (c *coordinator) disagree(reason string) {
	if n := len(c.story.Disagreed); n == MaxMembers {
		c.story.Disagreed = slices.Delete(c.story.Disagreed, 0, 1)
	}
	c.story.Disagreed = append(c.story.Disagreed, reason)
}

// maxUnsent is how many messages wait for a guest that does not read. Each that comes is announced to
// all, so there can be some hundred.
const maxUnsent = 4 * MaxMembers

// admit begins the conversation with a guest.
func (c *coordinator) admit(g *guest) {
	g.out = make(chan *message, maxUnsent)
	c.guests[g] = true
	c.writers.Go(func() { c.write(g) })
	if len(c.guests) > 2*MaxMembers {
		c.drop(g)
	}
}

// drop ends the conversation with a guest that is gone or talks nonsense, when it has heard what it was
// told.
func (c *coordinator) drop(g *guest) {
	delete(c.guests, g)
	close(g.out)
	c.lost = c.lost || g.asked
	if g.hello != nil {
		c.announce()
	}
}

// tell has a message sent, and does not wait for that: one guest that is stopped holds up nobody. Who does
// not read for long is gone; its reader says so.
func (c *coordinator) tell(g *guest, m *message) {
	select {
	case g.out <- m:
	default:
		_ = g.conn.Close()
	}
}

// write sends what a guest is told, and closes the connection at the end, when the guest does not read,
// or when cut is done. After that its reader ends with an error, which nobody needs to wait for.
func (c *coordinator) write(g *guest) {
	stop := context.AfterFunc(c.cut, func() { _ = g.conn.Close() })
	defer stop()
	defer g.conn.Close()
	for m := range g.out {
		_ = g.conn.SetWriteDeadline(time.Now().Add(writePatience)) // an error shows when writing
		if writeMessage(g.conn, m) != nil {
			return
		}
	}
}

// present counts the members that are here, this one included.
func (c *coordinator) present() int {
	n := 1
	for g := range c.guests {
		if g.hello != nil {
			n++
		}
	}
	return n
}

// announce tells everyone who is here, so that each can say so should it give up.
func (c *coordinator) announce() {
	roster := []Member{c.self}
	for g := range c.guests {
		if g.hello != nil && len(roster) < maxRoster {
			roster = append(roster, g.who)
		}
	}
	c.story.Present, c.story.Members = c.present(), roster
	for g := range c.guests {
		if g.hello != nil {
			c.tell(g, &message{Kind: rosterKind, Count: c.story.Present, Roster: roster})
		}
	}
}
