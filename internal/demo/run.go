package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

// Config says what to demonstrate. Folder and Command are required.
type Config struct {
	Folder  string // of text files
	HeapDir string // private directory of the heap; "" is the user's
	Workers int
	Kill    bool          // kill one worker in the middle
	Keep    bool          // keep the heap, unless interrupted
	Pace    time.Duration // rest of a worker in each file; 0 picks one, for a small folder

	// Command returns a process that calls Serve with this role, heap and pace.
	Command func(role Role, name string, pace time.Duration) *exec.Cmd
	// Progress, when not nil, is called with the number of files done.
	Progress func(done, total int)
}

// tick is how often the parent looks at the files.
const tick = 5 * time.Millisecond

// session is one run of the demo, as the parent sees it.
type session struct {
	*Config
	corpus   *corpus
	name     string
	heap     *heap.Heap
	alloc    *alloc.Allocator
	view     *view
	children []*child // the workers, then the reader
	report   Report
	phase    time.Time
}

// Run runs the demo. It returns ErrDiffers together with a complete report if
// an account does not balance. When it returns, also because ctx is done, no
// child is left, and no heap unless Keep is set.
func Run(ctx context.Context, cfg *Config) (*Report, error) {
	if cfg.Workers < 1 || cfg.Kill && cfg.Workers < 2 {
		return nil, fmt.Errorf("demo with %d workers: %w", cfg.Workers, ErrTooFewWorkers)
	}
	s := &session{Config: cfg, name: fmt.Sprintf("%s%d", namePrefix, os.Getpid()), phase: time.Now()}
	err := s.run(ctx)
	if closeErr := s.close(cfg.Keep && ctx.Err() == nil); err == nil {
		err = closeErr
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // whatever it looked like to us
	}
	if err != nil {
		return nil, err
	}
	if s.report.judge(); !s.report.OK {
		return &s.report, ErrDiffers
	}
	return &s.report, nil
}

// run goes through the phases of a demo, and leaves the cleaning to close.
func (s *session) run(ctx context.Context) (err error) {
	r := &s.report
	if s.corpus, err = listCorpus(ctx, s.Folder); err != nil {
		return err
	}
	s.lap(&r.PhaseSeconds.List)
	if err := s.create(); err != nil {
		return err
	}
	s.lap(&r.PhaseSeconds.Create)
	if err := s.startAll(ctx); err != nil {
		return err
	}
	s.lap(&r.PhaseSeconds.Start)
	if err := s.build(ctx); err != nil {
		return err
	}
	s.lap(&r.PhaseSeconds.Build)
	if err := s.read(ctx); err != nil {
		return err
	}
	s.lap(&r.PhaseSeconds.Read)
	if r.Private, err = privateTotals(ctx, s.corpus); err != nil {
		return err
	}
	s.lap(&r.PhaseSeconds.Private)
	err = s.account()
	s.lap(&r.PhaseSeconds.Check)
	return err
}

// lap stores the seconds since the last one.
func (s *session) lap(seconds *float64) {
	now := time.Now()
	*seconds, s.phase = now.Sub(s.phase).Seconds(), now
}

// create makes the heap and the empty index.
func (s *session) create() (err error) {
	sweepStale(s.HeapDir)
	s.heap, err = heap.Create(s.name, &heap.Options{Dir: s.HeapDir, Size: sizeFor(s.corpus)})
	if err != nil {
		return err
	}
	if s.alloc, err = alloc.Open(s.heap); err != nil {
		return err
	}
	if s.view, err = create(s.alloc, s.corpus, s.Workers); err != nil {
		return err
	}
	hello := newHello(s.heap, s.view)
	s.report.Folder, s.report.Files, s.report.Bytes = s.corpus.dir, len(s.corpus.paths), s.corpus.bytes
	s.report.Heap, s.report.Size, s.report.Base = s.name, s.heap.Size(), hello.Base
	s.report.Processes = append(s.report.Processes, Process{Role: "parent", Hello: *hello})
	return nil
}

// sizeFor returns a size that no index of the corpus can fill. Three bytes of
// text make at the most one posting, one word and its text: 32 + 48 + 16 bytes
// if every word is in one file only. The file is sparse.
func sizeFor(c *corpus) uint64 {
	const granularity = 256 << 20
	return (c.bytes*40 + granularity) / granularity * granularity
}

// startAll starts the workers and the reader, and waits until each has said
// where it sees the heap.
func (s *session) startAll(ctx context.Context) error {
	for i := range s.Workers + 1 {
		role := RoleWorker
		if i == s.Workers {
			role = RoleReader
		}
		c, err := startChild(s.Command(role, s.name, s.pace()), role, i+1)
		if err != nil {
			return err
		}
		s.children = append(s.children, c)
	}
	for _, c := range s.children {
		m, err := c.receive(ctx)
		if err != nil {
			return err
		}
		if m.Hello == nil {
			return fmt.Errorf("%v did not say hello", c)
		}
		c.hello = *m.Hello
	}
	return nil
}

// pace returns how long a worker rests in each file: not at all, or as long
// as it takes that a small folder lasts for half a second.
func (s *session) pace() time.Duration {
	const lasting, few = 500 * time.Millisecond, 1000
	if n := len(s.corpus.paths); s.Pace == 0 && n < few {
		return lasting * time.Duration(s.Workers) / time.Duration(n+s.Workers)
	}
	return s.Pace
}

// build lets the workers work, and kills one when half of the files are done.
func (s *session) build(ctx context.Context) error {
	begun := time.Now()
	workers := s.children[:s.Workers]
	for _, c := range workers {
		if err := c.begin(); err != nil {
			return err
		}
	}
	if err := s.watch(ctx, workers); err != nil {
		return err
	}
	s.report.Seconds = time.Since(begun).Seconds()
	s.report.FilesPerSecond = float64(s.report.Files) / s.report.Seconds
	for _, c := range workers {
		p := Process{Role: string(c.role), Hello: c.hello, Killed: c.killed}
		if !c.killed {
			m, err := c.receive(ctx)
			if err != nil {
				return err
			}
			if err := c.finish(ctx); err != nil {
				return err
			}
			p.Tally = m.Tally
		}
		s.report.Processes = append(s.report.Processes, p)
	}
	return nil
}

// watch returns when all files are done. It fails when a worker does.
func (s *session) watch(ctx context.Context, workers []*child) error {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	total := len(s.view.files)
	for {
		done := s.view.done()
		if s.Progress != nil {
			s.Progress(done, total)
		}
		if s.Kill && s.report.Killed == nil && 2*done >= total {
			s.killOne(workers[len(workers)/2])
		}
		if done == total {
			return nil
		}
		for _, c := range workers {
			if !c.killed && c.hasEnded() && c.err != nil {
				return c.failure()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
	}
}

// killOne kills a worker at whatever it is doing.
func (s *session) killOne(c *child) {
	c.kill()
	s.report.Killed = &Killed{PID: c.hello.PID, Peer: c.hello.Peer, AfterFiles: s.view.done()}
}

// read lets the reader walk the index, and waits until it is gone.
func (s *session) read(ctx context.Context) error {
	c := s.children[s.Workers]
	if err := c.begin(); err != nil {
		return err
	}
	m, err := c.receive(ctx)
	if err != nil {
		return err
	}
	if m.Walk == nil {
		return errors.New("the reader sent no account")
	}
	s.report.Walk = *m.Walk
	s.report.Processes = append(s.report.Processes, Process{Role: string(c.role), Hello: c.hello})
	return c.finish(ctx)
}

// account asks the allocator for its side. All children are gone by now.
func (s *session) account() error {
	recovered, err := s.alloc.Recover() // what nobody had a reason to
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	stats, err := s.alloc.Stats()
	if err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	r := &s.report
	r.LiveBlocks, r.LiveBytes, r.Committed = uint64(stats.Live), uint64(stats.LiveBytes), s.heap.Committed()
	r.Problems = append([]string{}, s.alloc.Check().Problems...)
	if r.Killed != nil {
		r.Killed.Recovered.add(recovered)
		r.Killed.sum(r.Processes, r.Files)
	}
	return nil
}

// sum adds what the survivors found of the killed worker.
func (k *Killed) sum(processes []Process, files int) {
	k.Files = files
	for _, p := range processes {
		if t := p.Tally; t != nil {
			k.Files -= t.Files
			k.TakenOver += t.TakenOver
			k.Found += t.Found
			k.Kept += t.Kept
			k.Freed += t.Freed
			k.Recovered.sum(t.Recovered)
		}
	}
}

// close ends the children and removes the heap. It may be called at any stage.
func (s *session) close(keep bool) error {
	for _, c := range s.children {
		c.kill()
	}
	var errs []error
	if s.alloc != nil {
		errs = append(errs, s.alloc.Close())
	}
	if s.heap == nil {
		return nil
	}
	errs = append(errs, s.heap.Close())
	if !keep {
		errs = append(errs, heap.Remove(s.name, &heap.Options{Dir: s.HeapDir, Force: true}))
	}
	return errors.Join(errs...)
}
