package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// A reading is what a process and its descendants were seen to be at one time.
type reading struct {
	processes [][]Mapping
	ticks     uint64 // processor time
	blocked   bool   // nobody runs or is about to
	ended     bool   // the process itself has ended
}

func (r reading) mapsLike(o reading) bool {
	return slices.EqualFunc(r.processes, o.processes, slices.Equal[[]Mapping])
}

// mappings returns those of all processes, with names.
func (r reading) mappings() []Mapping {
	var all []Mapping
	for _, mappings := range r.processes {
		all = append(all, withNames(mappings)...)
	}
	return all
}

// quietReadings is how many equal readings in a row it takes at least, however long they took.
const quietReadings = 4

// watch waits until the process is quiet and returns what is mapped then. At the limit it returns what
// is mapped, and that it has not settled. It returns ErrEnded if the process ended before.
func (r *surveyed) watch(ctx context.Context, settle, limit time.Duration) ([]Mapping, bool, error) {
	ticker := time.NewTicker(max(settle/(quietReadings+1), time.Millisecond))
	defer ticker.Stop()
	deadline := time.Now().Add(limit)
	var q quiet
	for {
		now, err := readTree(r.cmd.Process.Pid)
		switch at := time.Now(); {
		case err != nil:
			return nil, false, err
		case now.ended:
			return nil, false, ErrEnded
		case q.after(now, at, settle):
			return now.mappings(), true, nil
		case at.After(deadline):
			return now.mappings(), false, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-ticker.C:
		}
	}
}

// quiet decides when a row of readings shows a process that has settled.
type quiet struct {
	first reading // of those that are equal
	since time.Time
	count int
}

// after reports whether the process is quiet after one more reading.
func (q *quiet) after(now reading, at time.Time, settle time.Duration) bool {
	same := q.count > 0 && now.blocked && now.ticks <= q.first.ticks+1 && now.mapsLike(q.first)
	if !same {
		*q = quiet{first: now, since: at}
		if now.blocked {
			q.count = 1
		}
		return false
	}
	q.count++
	return q.count >= quietReadings && at.Sub(q.since) >= settle
}

// readTree reads a process that this process started and has not waited for, and its descendants.
func readTree(pid int) (reading, error) {
	state, err := sys.StateOf(pid)
	if err != nil {
		return reading{}, fmt.Errorf("state of process %d: %w", pid, whyUnseen(pid, err))
	}
	all := reading{ended: state.Ended, blocked: true}
	if state.Ended {
		return all, nil
	}
	// A child that ends while it is looked at changes what is read next time, so nothing is lost.
	for todo, seen := []int{pid}, map[int]bool{}; len(todo) > 0; todo = todo[1:] {
		if seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		children, err := all.add(todo[0])
		if err != nil && !(errors.Is(err, ErrNoProcess) || sys.IsGone(err)) {
			return reading{}, err
		}
		todo = append(todo, children...)
	}
	return all, nil
}

// add reads one process into r and returns its children.
func (r *reading) add(pid int) ([]int, error) {
	state, err := sys.StateOf(pid)
	if err != nil {
		r.blocked = false
		return nil, err
	}
	if state.Ended {
		return nil, nil
	}
	r.ticks += state.Ticks
	r.blocked = r.blocked && state.Blocked
	mappings, err := Of(pid)
	if errors.Is(err, ErrNoProcess) {
		r.blocked = false
	}
	if err != nil {
		return nil, err
	}
	r.processes = append(r.processes, mappings)
	children, err := sys.ChildrenOf(pid)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return children, err
}
