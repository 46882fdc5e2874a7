package queuebench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
)

// Config says what to measure. Command is required.
type Config struct {
	HeapDir  string // private directory of the heaps; "" is the user's
	Peers    bool   // others too
	Rounds   int
	Divide   int            // counts by this, to be quick
	Only     *regexp.Regexp // names of workloads; nil stands for all
	RealTime bool

	// Command returns a process that calls Work with this job and heap.
	Command func(job *Job, name string) *exec.Cmd
	// Progress, when not nil, is called with the number of measurements done.
	Progress func(done, total int)
}

// ErrNothing says that no workload has the name that was asked for.
var ErrNothing = errors.New("nothing to measure")

// measurementLimit is how long one measurement may take on a machine that is busy with other things.
const measurementLimit = 2 * time.Minute

// session is one run, as the parent sees it.
type session struct {
	*Config
	cpus   []int
	peer   program
	report *Report
	done   int
	total  int
}

// Run measures. When it returns, also because ctx is done, no process is left, no heap and no file.
func Run(ctx context.Context, cfg *Config) (*Report, error) {
	s := &session{Config: cfg, report: &Report{Rounds: cfg.Rounds, RealTime: cfg.RealTime}}
	s.cpus, _ = sys.Processors() // without them processes run where they like
	s.choose()
	if s.total == 0 {
		return nil, ErrNothing
	}
	if cfg.Peers {
		s.peer = build(ctx)
		defer s.peer.remove()
		s.report.Missing = s.peer.missing
	}
	for range cfg.Rounds {
		if err := s.round(ctx); err != nil {
			return nil, err
		}
	}
	s.report.judge()
	return s.report, nil
}

// choose fills the report with what is wanted.
func (s *session) choose() {
	for _, w := range Workloads {
		if s.Only != nil && !s.Only.MatchString(w.Name) {
			continue
		}
		m := Measured{Workload: w}
		for i := range w.Subjects {
			if w.Subjects[i].Workers > 0 || s.Peers {
				m.Rows = append(m.Rows, &Row{Subject: w.Subjects[i]})
				s.total += s.Rounds * w.repeats()
			}
		}
		s.report.Workloads = append(s.report.Workloads, m)
	}
}

func (s *session) round(ctx context.Context) error {
	for i := range s.report.Workloads {
		w := &s.report.Workloads[i]
		for range w.repeats() {
			if err := s.pass(ctx, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass measures every subject of a workload once.
func (s *session) pass(ctx context.Context, w *Measured) error {
	for _, row := range w.Rows {
		if err := s.measure(ctx, row); err != nil {
			return err
		}
		s.done++
		if s.Progress != nil {
			s.Progress(s.done, s.total)
		}
	}
	return nil
}

// measure adds one result to a row. A peer that fails is left out from then on; a process of ours that
// fails is an error.
func (s *session) measure(ctx context.Context, row *Row) error {
	if row.Why != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, measurementLimit)
	defer cancel()
	x := row.Subject
	if x.Job != "contend" { // which has a number of rounds of its own
		x.Count = max(x.Count/max(s.Divide, 1), 1024)
	}
	var r result
	var err error
	if x.Workers == 0 {
		if s.peer.missing != "" {
			row.Why = s.peer.missing
			return nil
		}
		r, err = s.runPeer(ctx, &x)
		if err != nil && ctx.Err() == nil {
			row.Why, err = err.Error(), nil
			return nil
		}
	} else {
		r, err = s.runOurs(ctx, &x)
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", x.Job, x.Name, err)
	}
	row.add(r)
	return nil
}

func (s *session) runPeer(ctx context.Context, x *Subject) (result, error) {
	cmd := exec.CommandContext(ctx, s.peer.path, x.Job, strconv.Itoa(x.Parameter), strconv.Itoa(x.Count))
	cpus := make([]string, len(s.cpus))
	for i, cpu := range s.cpus {
		cpus[i] = strconv.Itoa(cpu)
	}
	cmd.Env = append(os.Environ(), "CPUS="+strings.Join(cpus, ","))
	if s.RealTime {
		cmd.Env = append(cmd.Env, "REALTIME=1")
	}
	return output(cmd)
}

func output(cmd *exec.Cmd) (r result, err error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return r, json.Unmarshal(out, &r)
}

// runOurs makes a heap for the processes of one measurement and runs them. When one fails the others are
// killed.
func (s *session) runOurs(ctx context.Context, x *Subject) (r result, err error) {
	name := "bench-queue-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(s.done)
	o := &heap.Options{Dir: s.HeapDir, Size: 64 << 20}
	h, err := heap.Create(name, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close(), heap.Remove(name, o)) }()
	a, err := alloc.Open(h)
	if err != nil {
		return r, err
	}
	board, err := alloc.New[[64]uint64](a)
	if err != nil {
		return r, err
	}
	off, err := offsetOf(h, board)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, x.Workers)
	for i := range x.Workers {
		job := &Job{
			Name: x.Job, Parameter: x.Parameter, Count: x.Count, Worker: i, Workers: x.Workers, Board: off, CPU: -1,
			RealTime: s.RealTime && x.Workers <= len(s.cpus) && x.Job != "chan",
		}
		if len(s.cpus) > 0 && x.Job != "chan" {
			job.CPU = s.cpus[i%len(s.cpus)]
		}
		go func() { ended <- s.runWorker(ctx, job, name, &r) }()
	}
	for range x.Workers {
		if e := <-ended; e != nil && err == nil {
			err = e
			cancel()
		}
	}
	return r, err
}

func (s *session) runWorker(ctx context.Context, j *Job, name string, r *result) error {
	cmd := s.Command(j, name)
	stdin, err := cmd.StdinPipe() // closed by the kernel when we are gone
	if err != nil {
		return err
	}
	defer stdin.Close()
	stop := context.AfterFunc(ctx, func() {
		if cmd.Process != nil {
			cmd.Process.Kill()
		}
	})
	defer stop()
	if j.Worker == 0 {
		*r, err = output(cmd)
		return err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Report is what a session measured.
type Report struct {
	Rounds    int
	RealTime  bool
	Missing   string // why there are no peers, "" if there are
	Workloads []Measured
	Targets   []Target
}

// Measured is a workload and what each subject did.
type Measured struct {
	Workload
	Rows []*Row
}

// Row is a subject's part of a workload.
type Row struct {
	Subject
	Why    string    // it did not take part, "" if it did
	Values []float64 // nanoseconds for each operation, of each round
}

func (r *Row) add(x result) { r.Values = append(r.Values, float64(x.NS)/float64(max(x.Ops, 1))) }

// Best returns the best round, in nanoseconds for each operation.
func (r *Row) Best() float64 { return slices.Min(r.Values) }

// Median returns the round in the middle.
func (r *Row) Median() float64 { return slices.Sorted(slices.Values(r.Values))[len(r.Values)/2] }

// took returns what a subject of a workload took for an operation, in nanoseconds, 0 if it did not take part.
func (r *Report) took(workload, subject string) float64 {
	for i := range r.Workloads {
		w := &r.Workloads[i]
		for _, row := range w.Rows {
			switch {
			case w.Name != workload || row.Name != subject || len(row.Values) == 0:
			case w.Asleep:
				return row.Median()
			default:
				return row.Best()
			}
		}
	}
	return 0
}

// judge fills in the targets.
func (r *Report) judge() {
	r.Targets = slices.Clone(targets)
	for i := range r.Targets {
		t := &r.Targets[i]
		a, b := r.took(t.Workload, t.Ours), r.took(t.Beside, t.Subject)
		switch {
		case a == 0 || b == 0:
			t.Why = "not measured"
		case t.AtLeast: // of rates
			t.Ratio = b / a
		default:
			t.Ratio = a / b
		}
	}
}
