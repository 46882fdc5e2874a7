package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
)

// Config says what to measure. Command is required.
type Config struct {
	HeapDir string // private directory of the heaps; "" is the user's
	Peers   bool   // others too
	Rounds  int
	Time    time.Duration  // of one measurement
	Only    *regexp.Regexp // names of workloads, and "memory" and "recovery"; nil stands for all

	// Command returns a process that calls Work with this job and heap.
	Command func(job *Job, name string) *exec.Cmd
	// Progress, when not nil, is called with the number of measurements done.
	Progress func(done, total int)
}

// Errors of a session.
var (
	ErrNothing = errors.New("nothing to measure")
	ErrLeft    = errors.New("blocks are left that should have been freed")
)

// session is one run of the benchmarks, as the parent sees it.
type session struct {
	*Config
	tools   *toolchain // nil without peers
	built   map[string]built
	cpus    []int
	report  *Report
	done    int
	total   int
	numbers int // of heaps
}

// Run measures. When it returns, also because ctx is done, no process is left, no heap and no file.
func Run(ctx context.Context, cfg *Config) (*Report, error) {
	s := &session{Config: cfg, report: &Report{Rounds: cfg.Rounds, Time: cfg.Time}}
	sweepStale(cfg.HeapDir)
	err := s.run(ctx)
	if s.tools != nil {
		s.tools.remove()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	s.report.judge()
	return s.report, nil
}

func (s *session) run(ctx context.Context) (err error) {
	if s.wants("memory") {
		s.total++
	}
	if s.wants("recovery") {
		s.total++
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if s.total == 0 {
		return ErrNothing
	}
	for range s.Rounds {
		if err := s.round(ctx); err != nil {
			return err
		}
	}
	if s.wants("memory") {
		if s.report.Memory, err = s.measureMemory(ctx); err != nil {
			return err
		}
		s.step()
	}
	if s.wants("recovery") {
		if s.report.Recovery, err = s.measureRecovery(ctx); err != nil {
			return err
		}
		s.step()
	}
	return nil
}

func (s *session) wants(name string) bool { return s.Only == nil || s.Only.MatchString(name) }

func (s *session) step() {
	s.done++
	if s.Progress != nil {
		s.Progress(s.done, s.total)
	}
}

// prepare builds the peers and lists what is to be measured.
func (s *session) prepare(ctx context.Context) (err error) {
	taking := subjects[:2:2]
	compiler := ""
	if s.Peers {
		taking = subjects
		if s.tools, err = newToolchain(); err != nil {
			return err
		}
		compiler = s.tools.compiler
		s.built = s.tools.buildAll(ctx, subjects)
		for _, x := range subjects {
			if x.Peer {
				s.report.Peers = append(s.report.Peers, Peer{Name: x.Name, Missing: s.missing(&x)})
			}
		}
	}
	s.report.Machine, s.cpus = describeMachine(ctx, compiler)
	for _, w := range Workloads() {
		if s.wants(w.Name) {
			s.report.Workloads = append(s.report.Workloads, s.plan(w, taking))
		}
	}
	return nil
}

// missing says why a peer cannot run here, "" if it can.
func (s *session) missing(x *Subject) string {
	if x.source == "" {
		return ""
	}
	return s.built[x.program()].missing
}

func (s *session) plan(w Workload, taking []Subject) Measured {
	m := Measured{Workload: w}
	for i := range taking {
		x := &taking[i]
		row := &Row{Subject: x.Name, Why: x.takesPart(&w)}
		if row.Why == "" {
			row.Why = s.missing(x)
		}
		if row.Why == "" {
			s.total += 2 * s.Rounds
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

// round runs every subject of every workload once for its rate and once for its latencies.
func (s *session) round(ctx context.Context) error {
	for i := range s.report.Workloads {
		m := &s.report.Workloads[i]
		for _, row := range m.Rows {
			if row.Why != "" {
				continue
			}
			if err := s.measure(ctx, m, row); err != nil {
				return fmt.Errorf("%s of %s: %w", m.Name, row.Subject, err)
			}
		}
	}
	return nil
}

// timedShare is how much shorter the measurement of latencies is, which needs fewer calls.
const timedShare = 3

func (s *session) measure(ctx context.Context, m *Measured, row *Row) error {
	job := &Job{
		Subject: row.Subject, Loop: m.Loop, Sizes: m.Sizes, Workers: m.Workers, Time: s.Time, CPUs: s.cpus,
	}
	o, err := s.do(ctx, job)
	if err != nil {
		return err
	}
	row.addRates(o)
	s.step()
	job.Timed, job.Time = true, s.Time/timedShare
	if m.special == onlyLoop { // there is nothing to time
		s.step()
		return nil
	}
	if o, err = s.do(ctx, job); err != nil {
		return err
	}
	row.addLatencies(o)
	s.step()
	return nil
}

// do runs a job and sums up its results.
func (s *session) do(ctx context.Context, job *Job) (*Outcome, error) {
	x := subjectOf(job.Subject)
	var results []result
	var err error
	switch {
	case x.source != "":
		cmd := exec.Command(s.built[x.program()].path, job.Args()...)
		results, err = runChildren(ctx, job.Subject, []*exec.Cmd{cmd})
	case x.Peer:
		cmd := s.Command(job, "-")
		cmd.Env = append(cmd.Environ(), "GOMAXPROCS="+strconv.Itoa(job.Workers))
		results, err = runChildren(ctx, job.Subject, []*exec.Cmd{cmd})
	default:
		results, err = s.doInHeap(ctx, job)
	}
	if err != nil {
		return nil, err
	}
	if len(results) != job.Workers {
		return nil, fmt.Errorf("%d workers gave %d results", job.Workers, len(results))
	}
	o := new(Outcome)
	for i := range results {
		if err := o.add(&results[i]); err != nil {
			return nil, err
		}
	}
	s.note(job.Subject, o)
	return o, nil
}

func subjectOf(name string) *Subject {
	for i := range subjects {
		if subjects[i].Name == name {
			return &subjects[i]
		}
	}
	return &Subject{Name: name}
}

// note keeps what a peer says of itself.
func (s *session) note(name string, o *Outcome) {
	for i := range s.report.Peers {
		p := &s.report.Peers[i]
		switch {
		case p.Name != name:
		case name == SubjectGo:
			p.Version = s.report.Machine.Go
		default:
			p.Version, p.Library = o.version, o.library
		}
	}
}

// doInHeap runs the workers of a job in a fresh heap, and asks the heap whether they have freed all.
func (s *session) doInHeap(ctx context.Context, job *Job) (results []result, err error) {
	y, err := s.newYard()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	if err := y.makeBoard(uint64(job.Workers)); err != nil {
		return nil, err
	}
	var cmds []*exec.Cmd
	for i := range job.Workers {
		mine := *job
		mine.Worker = i
		cmds = append(cmds, s.Command(&mine, y.name))
	}
	if results, err = runChildren(ctx, job.Subject, cmds); err != nil {
		return nil, err
	}
	stats, err := y.alloc.Stats()
	if err == nil && stats.Live != 1 {
		err = fmt.Errorf("%w: %d", ErrLeft, stats.Live-1)
	}
	return results, err
}

const namePrefix = "bench-"

// heapSize is more than any workload needs. The file is sparse.
const heapSize = 8 << 30

// newYard makes a heap.
func (s *session) newYard() (*yard, error) {
	s.numbers++
	y := &yard{name: fmt.Sprintf("%s%d-%d", namePrefix, os.Getpid(), s.numbers), opts: heap.Options{Dir: s.HeapDir, Size: heapSize, Force: true}}
	err := y.open()
	if err != nil {
		err = errors.Join(err, y.close())
	}
	return y, err
}

func (y *yard) open() (err error) {
	if y.heap, err = heap.Create(y.name, &y.opts); err != nil {
		return err
	}
	if y.alloc, err = alloc.Open(y.heap); err != nil {
		return err
	}
	y.cache, err = y.alloc.NewCache()
	return err
}

// makeBoard makes the block that the workers find through the root. No cache keeps anything of this
// process: what they need is theirs from the beginning.
func (y *yard) makeBoard(workers uint64) error {
	p, err := y.cache.AllocZeroed(boardSize(workers))
	if err != nil {
		return err
	}
	off, _ := y.heap.Memory().Offset(p)
	return y.heap.StoreRoot(heap.Root{Name: boardRoot, Offset: off, TypeName: "board"})
}

// close removes the heap. It may be called at any stage.
func (y *yard) close() error {
	if y.heap == nil {
		return nil
	}
	return errors.Join(y.heap.Close(), heap.Remove(y.name, &y.opts))
}

// sweepStale removes the heaps of sessions that were killed.
func sweepStale(dir string) {
	infos, err := heap.List(&heap.Options{Dir: dir})
	if err != nil {
		return
	}
	for _, info := range infos {
		number, ok := strings.CutPrefix(info.Name, namePrefix)
		number, _, _ = strings.Cut(number, "-")
		pid, err := strconv.Atoi(number)
		if ok && err == nil && pid > 0 && !sys.Running(pid) {
			heap.Remove(info.Name, &heap.Options{Dir: dir}) // refused while anybody is attached
		}
	}
}
