//go:build !race && !crashpoint && !shmheap_portable

package bench

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestSessionOfPeers runs every loop of every peer, compares its table of sizes with ours and counts its
// calls.
func TestSessionOfPeers(t *testing.T) {
	dir := leavesNothing(t)
	s := &session{Config: &Config{HeapDir: dir, Peers: true, Rounds: 1, Time: 2 * time.Millisecond, Command: workerIn(dir)}, report: new(Report)}
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.tools.remove()
	for i := range s.report.Workloads {
		m := &s.report.Workloads[i]
		for _, row := range m.Rows {
			if x := subjectOf(row.Subject); x.Peer && row.Why == "" {
				s.checkPeer(t, m, row.Subject)
			}
		}
	}
	for _, p := range s.report.Peers {
		if p.Missing == "" && p.Version == "" {
			t.Errorf("%s does not say what it is", p.Name)
		}
		if pattern := "lib" + p.Name; (p.Name == SubjectMimalloc || p.Name == SubjectJemalloc) && p.Missing == "" {
			if ok, _ := filepath.Match(pattern+"*", filepath.Base(p.Library)); !ok {
				t.Errorf("malloc of %s comes from %s", p.Name, p.Library)
			}
		}
	}
	for _, p := range s.report.Peers {
		if p.Missing != "" {
			shmtest.Skip(t, p.Name, p.Missing)
		}
	}
}

// checkPeer gives a run more time when it had too little: two threads on a busy machine may miss each other.
func (s *session) checkPeer(t *testing.T, m *Measured, subject string) {
	o := new(Outcome)
	for limit := s.Time; o.Ops == 0 && limit < time.Second; limit *= 4 {
		var err error
		o, err = s.do(t.Context(), &Job{
			Subject: subject, Loop: m.Loop, Sizes: m.Sizes, Workers: m.Workers, Time: limit, Timed: m.special != onlyLoop,
		})
		if err != nil {
			t.Errorf("%s of %s: %v", m.Name, subject, err)
			return
		}
	}
	allocs, frees := o.alloc.Count(), o.free.Count()
	if o.Ops == 0 || o.Rate <= 0 || m.special != onlyLoop && (allocs < o.Ops || frees+slackOf(&m.Workload) < o.Ops) {
		t.Errorf("%s of %s: %d operations, %d calls of alloc, %d of free", m.Name, subject, o.Ops, allocs, frees)
	}
	s.checkSizes(t, m, subject, o)
}

func (s *session) checkSizes(t *testing.T, m *Measured, subject string, o *Outcome) {
	want := map[uint64]bool{}
	for i := range m.Workers {
		table, err := newSizes(m.Sizes, uint64(i)+1)
		if err != nil {
			t.Fatal(err)
		}
		want[checksum(table)] = true
	}
	for _, sum := range o.sizes {
		if !want[sum] {
			t.Errorf("%s of %s: another table of sizes", m.Name, subject)
		}
	}
}
