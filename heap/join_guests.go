package heap

import (
	"errors"
	"fmt"
	"net"
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
		if c.guests[g] = true; len(c.guests) > 2*MaxMembers {
			c.drop(g)
		}
	case !c.guests[g]:
	case e.err != nil:
		c.drop(g)
	case !g.hello:
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
		reason := fmt.Sprintf("pid %v wants %v, pid %v wants %v", g.who, m.Hello.Wish, c.self, c.wish)
		c.tell(g, &message{Kind: failKind, Code: "disagree", Reason: cutText(reason)})
		c.drop(g)
		return
	}
	g.hello, g.avoid = true, m.Hello.avoid()
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
		g.avoid = append(g.avoid, m.Refused...)
		c.refuse(g.who, m.Reason)
	default:
		g.pending = false
	}
}

// refuse adds a refusal to the story.
func (c *coordinator) refuse(who Member, reason string) {
	c.story.Refused = append(c.story.Refused, fmt.Sprintf("pid %v: %s", who, reason))
}

// drop ends the conversation with a guest that is gone or talks nonsense.
func (c *coordinator) drop(g *guest) {
	delete(c.guests, g)
	_ = g.conn.Close() // its reader ends with an error, which nobody waits for
	c.lost = c.lost || g.asked
	if g.hello {
		c.announce()
	}
}

// tell sends a message. Who does not read it in time is gone; its reader says so.
func (c *coordinator) tell(g *guest, m *message) {
	_ = g.conn.SetWriteDeadline(time.Now().Add(writePatience)) // an error shows when writing
	if err := writeMessage(g.conn, m); err != nil {
		_ = g.conn.Close()
	}
}

// present counts the members that are here, this one included.
func (c *coordinator) present() int {
	n := 1
	for g := range c.guests {
		if g.hello {
			n++
		}
	}
	return n
}

// announce tells everyone who is here, so that each can say so should it give up.
func (c *coordinator) announce() {
	roster := []Member{c.self}
	for g := range c.guests {
		if g.hello && len(roster) < maxRoster {
			roster = append(roster, g.who)
		}
	}
	c.story.Present, c.story.Members = c.present(), roster
	for g := range c.guests {
		if g.hello {
			c.tell(g, &message{Kind: rosterKind, Count: c.story.Present, Roster: roster})
		}
	}
}
