package queue

import (
	"fmt"
	"maps"
	"os"
	"testing"
)

// The explorer runs a model of the slot protocol through all interleavings: two producers and two
// consumers with hands, of which one may die before any of its steps, and a recoverer that comes at any
// time after that. Each access of a shared word is a step. The words are small: laps count modulo 8 and
// begin at the last one, so that they wrap.
//
// Not every order is gone through, but every end that one can have:
//
//   - A step that no other process can see, nor change what it does, is taken before all others: whenever it
//     came, the end would be the same. (A persistent set: Godefroid, "Partial-Order Methods for the
//     Verification of Concurrent Systems", 1996.) That the process dies before it is tried too.
//   - Two producers that make equally many elements may change places, and so may the consumers.
//   - What a dead process kept to itself is forgotten.
//
// TestExploreReduction compares the ends with those of all orders where there are few enough.

const (
	modelLaps  = 8
	modelUsers = 4 // two producers, two consumers
	modelMax   = 3 // elements that a producer makes at most
)

// modelSlot is a slot: the fields of its word.
type modelSlot struct {
	full       bool
	lap        int8
	by, popped int8 // hands, from 1; 0 for none
	value      int8
}

// modelHand is a record and what its process keeps to itself. The number of an intent is not in it: a
// verdict is true or not of the intent that the record has, and a new intent makes it untrue. Nor are the steps of
// an announcement: an intent comes with its position.
type modelHand struct {
	held, kind, position int8
	verdict              bool
	pc                   int8
	at                   int8 // position of the cursor
	saw                  modelSlot
	judging              int8 // 1 the record in question has the intent in question, 2 it had it
	made                 int8
	wrong                bool // the last compare-and-swap failed
}

// modelState is everything.
type modelState struct {
	slots     [2]modelSlot
	hands     [modelUsers]modelHand
	dead      int8 // hand that died, from 1
	recovery  int8 // the recoverer's next step
	sawSlot   modelSlot
	keep      bool
	delivered [2*modelMax + 1]int8
	freed     [2*modelMax + 1]int8
}

// model is the protocol, with the mistakes that the explorer must find.
type model struct {
	slots     int8
	tokens    [2]int8             // elements that each producer makes
	noVerdict bool                // overwrite slots without a look at who needs them
	noNames   bool                // recovery takes any pop or push at the position for the dead one's
	early     bool                // clear the intent before the hand
	late      bool                // a verdict on an earlier intent replaces that on a later one
	parity    bool                // tell laps by their lowest bit only
	all       bool                // go through all orders
	seen      map[uint64]struct{} // hashes: with 10 million states the odds of a collision are one in 300,000
	ends      map[uint64]struct{}
	ended     map[modelState]struct{} // the same as they are, when all orders are gone through
	failed    string
}

func (m *model) start() modelState {
	var s modelState
	first := (modelLaps - 1) * m.slots
	for i := range m.slots {
		s.slots[i].lap = modelLaps - 1
	}
	for i := range s.hands {
		s.hands[i].at = first
	}
	return s
}

// explore visits every state that can be reached and reports the number.
func (m *model) explore() int {
	m.seen, m.ends, m.ended = make(map[uint64]struct{}), make(map[uint64]struct{}), make(map[modelState]struct{})
	stack := []modelState{m.start()}
	for len(stack) > 0 && m.failed == "" {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		hash := m.hash(&s)
		if _, ok := m.seen[hash]; ok {
			continue
		}
		m.seen[hash] = struct{}{}
		stack = m.successors(s, stack)
	}
	return len(m.seen)
}

// successors appends the states that one step of anybody leads to. Where nobody can step, the account is
// drawn.
func (m *model) successors(s modelState, stack []modelState) []modelState {
	if next, ok := m.unseen(&s); ok && !m.all {
		return append(stack, next...)
	}
	moved := false
	try := func(step func(*modelState) bool) {
		next := s
		if step(&next) && next != s {
			moved = true
			stack = append(stack, next)
		}
	}
	for i := range int8(modelUsers) {
		if s.dead == i+1 {
			continue
		}
		try(func(s *modelState) bool { return m.step(s, i) })
		if s.dead == 0 {
			stack = append(stack, s.kill(i)) // no move that anything waits for
		}
	}
	if s.dead != 0 {
		try(m.recover)
	}
	if !moved {
		m.ends[m.hash(&s)] = struct{}{}
		if m.all {
			m.ended[s] = struct{}{}
		}
		m.audit(&s)
	}
	return stack
}

// kill returns the state in which a process is dead. What it kept to itself matters to nobody any more.
func (s modelState) kill(i int8) modelState {
	h := &s.hands[i]
	s.dead = i + 1
	h.pc, h.at, h.saw, h.judging, h.wrong = 0, 0, modelSlot{}, 0, false
	return s
}

// unseen returns what a process that is about to make a step of no concern to others leads to: the step,
// and its death before that.
func (m *model) unseen(s *modelState) ([]modelState, bool) {
	for i := range int8(modelUsers) {
		if s.dead == i+1 || !m.isPrivate(s, i) {
			continue
		}
		next := *s
		m.step(&next, i)
		if s.dead == 0 {
			return []modelState{next, s.kill(i)}, true
		}
		return []modelState{next}, true
	}
	if s.dead != 0 && (s.recovery == 2 || s.recovery == 4) {
		next := *s
		m.recover(&next)
		return []modelState{next}, true
	}
	return nil, false
}

// isPrivate reports whether the next step of a process touches nothing but what it, and the recoverer after
// its death, looks at.
func (m *model) isPrivate(s *modelState, i int8) bool {
	h := &s.hands[i]
	if i >= 2 {
		return h.pc == popHeld || h.pc == popUndo || h.pc == deliver
	}
	switch h.pc {
	case makeIt:
		return h.made < m.tokens[i]
	case clearHeld:
		return true
	case judgePusher:
		return h.saw.by == 0 || h.saw.by == i+1
	case judgePopper:
		return h.saw.popped == 0 || h.saw.popped == i+1
	case judgePusherEnd, judgePopperEnd:
		return h.judging == 0
	}
	return false
}

// audit checks a state in which all is done: each element that was made has been delivered or freed once.
func (m *model) audit(s *modelState) {
	for i := range s.hands[:2] {
		h := &s.hands[i]
		if s.dead != int8(i)+1 && (h.made != m.tokens[i] || h.held != 0) {
			m.failed = fmt.Sprintf("producer %d is stuck: %+v", i, *s)
		}
		for n := range h.made {
			token := int8(i)*modelMax + n + 1
			if total := s.delivered[token] + s.freed[token]; total != 1 {
				m.failed = fmt.Sprintf("element %d was delivered %d times and freed %d times: %+v",
					token, s.delivered[token], s.freed[token], *s)
			}
		}
	}
	for i := range m.slots {
		if s.slots[i].full {
			m.failed = fmt.Sprintf("slot %d is left full: %+v", i, *s)
		}
	}
}

func (m *model) step(s *modelState, i int8) bool {
	if i < 2 {
		return m.produce(s, i)
	}
	return m.consume(s, i)
}

// phase is phaseOf.
func (m *model) phase(w modelSlot, at int8) phase {
	d := (w.lap - at/m.slots + 2*modelLaps) % modelLaps
	if m.parity {
		d &= 1
	}
	switch {
	case d == 0 && w.full:
		return filled
	case d == 0:
		return free
	case d == modelLaps-1 && w.full || m.parity && d == 1 && w.full:
		return lagging
	}
	return passed
}

func (m *model) next(at int8) int8 { return (at + 1) % (modelLaps * m.slots) }

// Steps of a producer.
const (
	makeIt = iota
	lookAtSlot
	judgePusher
	judgePusherEnd
	judgePopper
	judgePopperEnd
	storeIntent
	swap
	clearHeld
	clearIntent
)

func (m *model) produce(s *modelState, i int8) bool {
	h := &s.hands[i]
	slot := &s.slots[h.at%m.slots]
	switch h.pc {
	case makeIt:
		if h.made == m.tokens[i] {
			return false
		}
		h.made++
		h.held = i*modelMax + h.made
		h.pc = lookAtSlot
	case lookAtSlot:
		m.lookForRoom(h, *slot)
	case judgePusher, judgePusherEnd:
		m.judge(s, i, h.saw.by, intentPush)
	case judgePopper, judgePopperEnd:
		m.judge(s, i, h.saw.popped, intentPop)
	case storeIntent:
		m.intend(s, i, intentPush)
		h.pc = swap
	case swap:
		h.wrong = *slot != h.saw
		if !h.wrong {
			*slot = modelSlot{full: true, lap: h.at / m.slots, by: i + 1, value: h.held}
		}
		h.pc = clearHeld
		if m.early {
			m.intend(s, i, intentNone)
		}
	case clearHeld:
		if !h.wrong {
			h.held = 0
		}
		h.pc = clearIntent
	case clearIntent:
		m.intend(s, i, intentNone)
		h.saw, h.pc = modelSlot{}, lookAtSlot
		if !h.wrong {
			h.at, h.pc = m.next(h.at), makeIt
		}
		h.wrong = false
	}
	return true
}

func (m *model) lookForRoom(h *modelHand, w modelSlot) {
	switch m.phase(w, h.at) {
	case free:
		h.saw, h.pc = w, judgePusher
		if m.noVerdict || w.by == 0 && w.popped == 0 {
			h.pc = storeIntent
		}
	case filled, passed:
		h.at = m.next(h.at)
	}
}

// judge is settleOne and Record.judge in two steps: to look at the record, and to store the verdict if it
// was the intent in question, which it may not be any more by then. The verdict names it, so it is of
// no effect then, unless it takes another one away.
func (m *model) judge(s *modelState, i, id int8, kind int8) {
	h := &s.hands[i]
	before := (h.at - m.slots + modelLaps*m.slots) % (modelLaps * m.slots)
	r := &s.hands[max(id-1, 0)]
	switch {
	case id == 0 || id == i+1:
		h.pc = (h.pc-judgePusher)/2*2 + judgePopper // nobody: on to the next
	case h.pc == judgePusher || h.pc == judgePopper:
		if r.kind == kind && r.position == before {
			h.judging = 1
		}
		h.pc++
	default:
		r.verdict = h.judging == 1 || h.judging == 0 && r.verdict
		h.judging = 0
		h.pc++
	}
}

// intend stores an intent, with its position. Whoever was about to judge the one before is too late.
func (m *model) intend(s *modelState, i, kind int8) {
	h := &s.hands[i]
	h.kind, h.position, h.verdict = kind, 0, false
	if kind != intentNone {
		h.position = h.at
	}
	for j := range s.hands[:2] {
		o := &s.hands[j]
		if o.pc == judgePusherEnd && o.saw.by == i+1 || o.pc == judgePopperEnd && o.saw.popped == i+1 {
			if o.judging != 0 && m.late {
				o.judging = 2
			} else {
				o.judging = 0
			}
		}
	}
}

// Steps of a consumer.
const (
	lookForOne = iota
	popIntent
	popHeld
	popSwap
	popUndo
	popDone
	deliver
)

func (m *model) consume(s *modelState, i int8) bool {
	h := &s.hands[i]
	slot := &s.slots[h.at%m.slots]
	switch h.pc {
	case lookForOne:
		switch m.phase(*slot, h.at) {
		case filled:
			h.saw, h.pc = *slot, popIntent
		case passed:
			h.at = m.next(h.at)
		default:
			return false
		}
	case popIntent:
		m.intend(s, i, intentPop)
		h.pc = popHeld
	case popHeld:
		h.held, h.pc = h.saw.value, popSwap
	case popSwap:
		h.wrong = *slot != h.saw
		if !h.wrong {
			*slot = modelSlot{lap: (h.saw.lap + 1) % modelLaps, by: h.saw.by, popped: i + 1}
		}
		h.pc = popUndo
	case popUndo:
		if h.wrong {
			h.held = 0
		}
		h.pc = popDone
	case popDone:
		m.intend(s, i, intentNone)
		h.saw, h.pc = modelSlot{}, lookForOne
		if !h.wrong {
			h.at, h.pc = m.next(h.at), deliver
		}
		h.wrong = false
	case deliver:
		s.delivered[h.held]++
		h.held, h.pc = 0, lookForOne
	}
	return true
}

// recover is what recovery does with the dead hand's record, step by step: look at the slot, look at the
// verdict and decide, clear Held, clear the intent, free or deliver what is held.
func (m *model) recover(s *modelState) bool {
	h := &s.hands[s.dead-1]
	switch s.recovery {
	case 0:
		s.recovery = 4
		if h.kind != intentNone {
			s.sawSlot, s.recovery = s.slots[h.position%m.slots], 1
		}
	case 1:
		s.keep = m.happened(s, h) == (h.kind == intentPop)
		s.recovery = 2
	case 2:
		if !s.keep {
			h.held = 0
		}
		s.recovery = 3
	case 3:
		m.intend(s, s.dead-1, intentNone)
		s.sawSlot, s.keep, s.recovery = modelSlot{}, false, 4
	case 4:
		if h.held != 0 && s.dead <= 2 {
			s.freed[h.held]++
		} else if h.held != 0 {
			s.delivered[h.held]++
		}
		h.held = 0
		s.recovery = 5
	default:
		return false
	}
	return true
}

// happened is Queue.succeeded.
func (m *model) happened(s *modelState, h *modelHand) bool {
	if h.verdict {
		return true
	}
	w, lap := s.sawSlot, h.position/m.slots
	popped := !w.full && w.lap == (lap+1)%modelLaps
	if h.kind == intentPop {
		return popped && (w.popped == s.dead || m.noNames)
	}
	return (popped || w.full && w.lap == lap) && (w.by == s.dead || m.noNames)
}

// hash returns the same for states that differ only in who is who.
func (m *model) hash(s *modelState) uint64 {
	least := ^uint64(0)
	for _, producers := range []bool{false, true} {
		for _, consumers := range []bool{false, true} {
			if producers && (m.all || m.tokens[0] != m.tokens[1]) || consumers && m.all {
				continue
			}
			least = min(least, m.pack(s, producers, consumers))
		}
	}
	return least
}

// pack writes the state with pairs of processes exchanged, and returns a hash of it.
func (m *model) pack(s *modelState, producers, consumers bool) uint64 {
	user := [modelUsers + 1]int8{0, 1, 2, 3, 4}
	token := [2*modelMax + 1]int8{0, 1, 2, 3, 4, 5, 6}
	if producers {
		user[1], user[2] = 2, 1
		token = [2*modelMax + 1]int8{0, 4, 5, 6, 1, 2, 3}
	}
	if consumers {
		user[3], user[4] = 4, 3
	}
	var p packer
	slot := func(w modelSlot) { p.put(w.full, w.lap, user[w.by], user[w.popped], token[w.value]) }
	for i := range m.slots {
		slot(s.slots[i])
	}
	for i := range int8(modelUsers) {
		h := &s.hands[user[i+1]-1]
		p.put(h.judging == 1, token[h.held], h.kind, h.position, h.pc)
		p.put(h.verdict, h.at, h.made, 0, 0)
		p.put(h.wrong, h.judging/2, 0, 0, 0)
		slot(h.saw)
	}
	for i := range token {
		p.put(false, s.delivered[token[i]], s.freed[token[i]], 0, 0)
	}
	p.put(s.keep, user[s.dead], s.recovery, 0, 0)
	slot(s.sawSlot)
	return p.sum
}

// packer hashes small numbers: by multiplication and a shift, after splitmix64.
type packer struct{ sum uint64 }

func (p *packer) put(a bool, b, c, d, e int8) {
	w := uint64(b)<<8 | uint64(c)<<16 | uint64(d)<<24 | uint64(e)<<32
	if a {
		w |= 1
	}
	x := (p.sum ^ w) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	p.sum = x ^ x>>31
}

// TestExplore goes through every interleaving of two producers that make two elements each, two consumers, and
// one death. Four elements through one slot overwrite what the slot says three times. Three elements each
// are left to the long run.
func TestExplore(t *testing.T) {
	models := []*model{{slots: 1, tokens: [2]int8{2, 2}}, {slots: 2, tokens: [2]int8{2, 2}}}
	if os.Getenv("SHMHEAP_EXPLORE") == "full" {
		models = append(models, &model{slots: 1, tokens: [2]int8{3, 3}}, &model{slots: 2, tokens: [2]int8{3, 3}})
	}
	for _, m := range models {
		n := m.explore()
		t.Logf("note: %d slots, %v elements, %d states, %d ends", m.slots, m.tokens, n, len(m.ends))
		if m.failed != "" {
			t.Errorf("%d slots: %s", m.slots, m.failed)
		}
	}
}

// TestExploreReduction: the orders that are left out lead to no other end.
func TestExploreReduction(t *testing.T) {
	for _, slots := range []int8{1, 2} {
		few, all := &model{slots: slots, tokens: [2]int8{1, 1}}, &model{slots: slots, tokens: [2]int8{1, 1}, all: true}
		t.Logf("note: %d slots, %d states of %d", slots, few.explore(), all.explore())
		ends := make(map[uint64]struct{})
		for s := range all.ended {
			ends[few.hash(&s)] = struct{}{}
		}
		if !maps.Equal(ends, few.ends) || few.failed+all.failed != "" {
			t.Errorf("%d slots: %d ends and %d; %s%s", slots, len(few.ends), len(ends), few.failed, all.failed)
		}
	}
}

// TestExploreFindsMistakes: the explorer sees what the parts of the protocol are for.
func TestExploreFindsMistakes(t *testing.T) {
	for name, m := range map[string]*model{
		"overwrites what the dead need": {noVerdict: true},
		"names are not looked at":       {noNames: true},
		"intent cleared too early":      {early: true},
		"laps by parity":                {parity: true},
		"a late verdict hides a newer":  {late: true, tokens: [2]int8{2, 2}},
	} {
		if m.slots = 1; m.tokens[0] == 0 {
			m.tokens = [2]int8{2, 1}
		}
		if m.explore(); m.failed == "" {
			t.Errorf("%s: not found in %d states", name, len(m.seen))
		}
	}
}
