package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// SurveyOptions steers Survey. The zero value and nil are valid.
type SurveyOptions struct {
	Runs     int           // how many; 0 means 200
	Parallel int           // how many at once; 0 means twice the number of processors
	Settle   time.Duration // how long a run must be quiet; 0 means 50 ms
	Limit    time.Duration // when a run that is not quiet is taken as it is; 0 means 10 s
	// Progress, if not nil, is called after each run with the number of those that are done. Calls do
	// not overlap.
	Progress func(done int)
}

func (o *SurveyOptions) orDefault() SurveyOptions {
	var v SurveyOptions
	if o != nil {
		v = *o
	}
	for _, n := range []struct {
		to        *int
		otherwise int
	}{{&v.Runs, 200}, {&v.Parallel, 2 * runtime.GOMAXPROCS(0)}} {
		if *n.to <= 0 {
			*n.to = n.otherwise
		}
	}
	for _, d := range []struct {
		to        *time.Duration
		otherwise time.Duration
	}{{&v.Settle, 50 * time.Millisecond}, {&v.Limit, 10 * time.Second}} {
		if *d.to <= 0 {
			*d.to = d.otherwise
		}
	}
	return v
}

// ErrEnded: the program ended by itself before it was quiet, in more than a tenth of the runs.
var ErrEnded = errors.New("program ended by itself before it was quiet")

// Survey starts a program many times and returns which addresses it occupied. args is the command line;
// the program is looked for in PATH.
//
// A run is taken when it is quiet, from outside: in several readings, over Settle, the mappings of the
// process and of its descendants are the same, none of their threads runs, is ready to run, or waits for
// a disk, and together they use no more than one tick (10 ms) of processor time. What is started has
// nothing on its standard input, which stays open, so that a program that reads it waits; its output is
// thrown away. Then its whole process group is killed; a descendant that made a group of its own is
// not. A run that is not quiet at Limit is taken as it is and counted as unsettled. One that ends by
// itself is repeated.
//
// Errors: ErrEnded, with the end of what the program wrote to its standard error; ctx's; those of
// starting a program and of Of; errors.ErrUnsupported on a system other than Linux and macOS. Any number of
// goroutines may call it at once. If this process is killed, so are those that it started, but not their
// descendants. Descendants are seen where the kernel has CONFIG_PROC_CHILDREN, as those of most
// distributions have.
func Survey(ctx context.Context, args []string, opts *SurveyOptions) (*Profile, error) {
	if len(args) == 0 {
		return nil, errors.New("survey: no program")
	}
	s := survey{SurveyOptions: opts.orDefault(), args: args, made: time.Now()}
	if err := s.run(ctx); err != nil {
		return nil, fmt.Errorf("survey of %s: %w", args[0], err)
	}
	p, err := NewProfile(slices.Clone(args), CurrentSettings(), s.runs)
	if err == nil {
		p.Made, p.Unsettled, p.Ended = s.made.UTC().Truncate(time.Second), s.unsettled, s.ended
	}
	return p, err
}

// survey is one Survey under way.
type survey struct {
	SurveyOptions
	args []string
	made time.Time

	mu        sync.Mutex // guards the rest
	started   int        // runs that are under way or done, without those that ended
	runs      [][]Mapping
	unsettled int
	ended     int
	err       error // the first
}

func (s *survey) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for range min(s.Parallel, s.Runs) {
		workers.Go(func() {
			for s.next() && ctx.Err() == nil {
				if err := s.once(ctx); err != nil {
					s.fail(err)
					cancel()
				}
			}
		})
	}
	workers.Wait()
	if s.err == nil {
		return ctx.Err()
	}
	return s.err
}

// next reports whether one more run is wanted, and counts it.
func (s *survey) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started == s.Runs || s.err != nil {
		return false
	}
	s.started++
	return true
}

func (s *survey) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// once makes one run and keeps the result.
func (s *survey) once(ctx context.Context) error {
	begin := time.Now()
	r, err := start(s.args)
	if err != nil {
		return err
	}
	mappings, settled, err := r.watch(ctx, s.Settle, s.Limit)
	err = errors.Join(err, r.stop())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, ErrEnded):
		s.started--
		if s.ended++; s.ended > s.Runs/10 {
			return fmt.Errorf("%w, after %v%s", err, time.Since(begin).Round(time.Millisecond), r.said())
		}
		return nil
	case err != nil:
		return err
	case !settled:
		s.unsettled++
	}
	s.runs = append(s.runs, mappings)
	if s.Progress != nil {
		s.Progress(len(s.runs))
	}
	return nil
}

// A surveyed is a process that was started for a survey.
type surveyed struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr tail
}

// start starts a program in a process group of its own. The calling goroutine keeps its thread until
// stop, because the kernel kills the process when the thread that started it ends.
func start(args []string) (*surveyed, error) {
	r := &surveyed{cmd: exec.Command(args[0], args[1:]...)}
	r.cmd.Stderr = &r.stderr
	r.cmd.WaitDelay = time.Second // for who holds on to stderr outside the group
	sys.OwnGroup(r.cmd)
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	if err := r.cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return r, nil
}

// killPatience is how long stop waits for a process that it may not kill.
const killPatience = 2 * time.Second

// stop kills the group and waits for its leader. The leader has not been waited for before, so its id
// cannot belong to somebody else.
func (r *surveyed) stop() error {
	defer runtime.UnlockOSThread()
	group := sys.KillGroup(r.cmd.Process.Pid)
	leader := r.cmd.Process.Kill() // where there are no groups, and to know: one of the group is enough for the other
	if errors.Is(leader, os.ErrPermission) {
		return r.abandon(leader)
	}
	_ = r.cmd.Wait() // it was killed, which is no error here
	return group
}

// abandon gives a leader that became privileged, and cannot be killed, the end of its standard input and
// some time to end by itself.
func (r *surveyed) abandon(err error) error {
	_ = r.stdin.Close() // it is closed in any case when the leader ends
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.cmd.Wait() // how it ends does not matter
	}()
	select {
	case <-ended:
		return fmt.Errorf("process %d became privileged: %w", r.cmd.Process.Pid, err)
	case <-time.After(killPatience):
		return fmt.Errorf("process %d became privileged and still runs: %w", r.cmd.Process.Pid, err)
	}
}

func (r *surveyed) said() string {
	if text := r.stderr.String(); text != "" {
		return "; it wrote: " + text
	}
	return ""
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[len(t.text)-min(len(t.text), 500):]
	return len(p), nil
}

// String returns what was kept, on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(printable(string(bytes.ReplaceAll(t.text, []byte("\n"), []byte(" "))))), " ")
}
