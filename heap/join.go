package heap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// JoinOptions say what the members of a Join want. The zero value is valid, and nil stands for it.
type JoinOptions struct {
	// Members is how many processes agree on the base before the heap is made, this one included; at
	// most MaxMembers. All must give the same number. 0 waits for nobody: the first comer makes the heap.
	Members int
	// Size and Base, and what follows, mean what they mean in Options. All members must give the same.
	// With a Base there is one proposal.
	Size, Base uint64
	// Above means what it means in Options, and all members must give the same.
	Above bool
	// Dir is where the members meet.
	Dir string
	// MaxPeers, MaxRoots and MaxCaches are the lengths of the tables.
	MaxPeers, MaxRoots, MaxCaches uint32
}

// maxProposals is how many bases one coordinator proposes before it gives up.
const maxProposals = 16

// Join attaches to the heap of that name and makes it first if it does not exist, at a base that all of
// the first JoinOptions.Members processes can map. It waits for them until ctx is done; without an end
// to ctx, for ever. A heap that exists is opened at the base that it has, whatever the options.
//
// name may be a path when the directory that it leads to is private, which is needed for the rendezvous.
// Nothing but the members themselves takes part: no daemon, and no process that the others depend on.
//
//	coordinator: holds the lock           member: each of the others
//
//	  listen <------------ HELLO ---------- connect     who, what, the gaps of the address space
//	  gather ------------- ROSTER --------> wait        until Members are here
//	    |
//	  propose ------------ PROPOSE -------> reserve     a base that lies in a gap of everyone
//	    |    <------- RESERVE or REFUSE --- answer      REFUSE names what is in the way
//	    |
//	    +-- somebody refused or is gone:
//	    |    ------------- ABORT ---------> release     gather again, propose another base
//	    |
//	  create the heap at the base: its name in the directory is the commitment
//	    |    ------------- COMMIT --------> open        over the reservation
//	  remove lock file and socket
//
// Whoever gets the lock on byte 0 of the file .NAME.heap.join is the coordinator; the kernel passes the
// lock on when the coordinator dies. All others see the end of their connection then, and begin again:
// is there a heap? can I have the lock? who listens? A death is answered by state:
//
//	a member before HELLO, or after it while others are awaited   it does not count; another may come
//	a member between PROPOSE and the last RESERVE                 ABORT; wait until another has come
//	a member after the last RESERVE                               nothing: it would have been a dead peer
//	the coordinator before the heap has its name                  reservations are released, another member
//	                                                              leads; its file is swept as Create's is
//	the coordinator after that                                    the others find the heap and open it,
//	                                                              over their reservations where they hold them
//
// A reservation is a mapping, so a dead process holds none. What a member refused it remembers, and tells
// the next coordinator with HELLO; the refusals of a dead member are forgotten with it. A member that is
// stopped is not dead: the others wait for it, as long as ctx lets them.
//
// Errors: those of Open and Create, among them *ConflictError for a heap that exists where this process
// has something else; ErrMembers; and a *JoinError with ErrNoAgreement after 16 proposals or when none is
// left, ErrDisagree, ErrJoinFailed, or the error of ctx, which says who came. ErrOpen when this process
// has the heap open or joins it already. A killed Join leaves at most two names that the next Join, Create
// or List removes. Any number of goroutines may call it.
func Join(ctx context.Context, name string, opts *JoinOptions) (*Heap, error) {
	if opts == nil {
		opts = &JoinOptions{}
	}
	h, err := join(ctx, name, opts)
	if err != nil {
		return nil, fmt.Errorf("join heap %q: %w", name, err)
	}
	return h, nil
}

func join(ctx context.Context, name string, opts *JoinOptions) (*Heap, error) {
	o := (&Options{
		Size: opts.Size, Base: opts.Base, Above: opts.Above, Dir: opts.Dir,
		MaxPeers: opts.MaxPeers, MaxRoots: opts.MaxRoots, MaxCaches: opts.MaxCaches,
	}).orDefault()
	switch {
	case opts.Members < 0 || opts.Members > MaxMembers:
		return nil, fmt.Errorf("%w: %d", ErrMembers, opts.Members)
	case opts.Base%probe.Guard != 0:
		return nil, fmt.Errorf("base %#x: %w", opts.Base, probe.ErrUnaligned)
	case opts.Members == 0:
		return createOrOpen(ctx, name, o)
	}
	j, err := newJoining(name, opts.Members, o)
	if err != nil {
		return nil, err
	}
	defer j.close()
	return j.run(ctx)
}

// createOrOpen does not wait for anybody. It goes round only when others make and remove the heap.
func createOrOpen(ctx context.Context, name string, o Options) (*Heap, error) {
	path := strings.ContainsRune(name, filepath.Separator)
	for ctx.Err() == nil {
		h, err := open(name, &o)
		if !errors.Is(err, ErrNotExist) {
			return h, err
		}
		made, create := name, o
		if path {
			made, create.Path = heapNameOf(name), name
		}
		if h, err = createNamed(made, &create); !errors.Is(err, ErrExist) {
			return h, err
		}
	}
	return nil, context.Cause(ctx)
}

// heapNameOf returns the name that a heap made at a path gets.
func heapNameOf(path string) string { return strings.TrimSuffix(filepath.Base(path), suffix) }

// joining is one call of Join that takes part in a rendezvous.
type joining struct {
	name string // of the heap
	at   location
	dir  *os.File
	wish wish
	self Member

	refused     []probe.Range // what was in the way here, newest last
	reservation *probe.Reservation
	heard       bool      // the last coordinator said something
	story       JoinError // told when it ends without a heap
}

// joins is the set of paths that this process is joining: of two calls the second would find the
// reservation of the first in its way.
var joins struct {
	sync.Mutex
	paths map[string]bool
}

func newJoining(name string, members int, o Options) (*joining, error) {
	at, err := locate(name, &o)
	if err != nil {
		return nil, err
	}
	if !at.private {
		name, at.private = heapNameOf(name), true
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	dir, err := at.openDir(true)
	if err != nil {
		return nil, err
	}
	j := &joining{name: name, at: at, dir: dir, self: thisMember()}
	if err := j.prepare(members, &o); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return j, nil
}

// prepare says what this process wants, and enters it into the set.
func (j *joining) prepare(members int, o *Options) error {
	if o.Above && o.Base == 0 {
		if _, err := probe.Above(); err != nil {
			return err
		}
	}
	st, err := sys.Stat(j.dir)
	if err != nil {
		return err
	}
	g, err := o.newGeometry(st.BlockSize)
	if err != nil {
		return err
	}
	j.wish = wish{
		System: runtime.GOOS + "/" + runtime.GOARCH, Page: os.Getpagesize(), Members: members,
		Size: g.Size, Base: o.Base, Above: o.Above, MaxPeers: o.MaxPeers, MaxRoots: o.MaxRoots, MaxCaches: o.MaxCaches,
	}
	j.story = JoinError{Name: j.name, Wanted: members, Present: 1, Members: []Member{j.self}}
	joins.Lock()
	defer joins.Unlock()
	if joins.paths[j.at.path()] {
		return ErrOpen
	}
	if joins.paths == nil {
		joins.paths = make(map[string]bool)
	}
	joins.paths[j.at.path()] = true
	return nil
}

func thisMember() Member {
	program := sys.ProgramName()
	m := Member{PID: os.Getpid(), Program: program[:min(len(program), maxProgram)]}
	if !m.valid() {
		m.Program = "?"
	}
	return m
}

func (j *joining) close() {
	j.release()
	joins.Lock()
	defer joins.Unlock()
	delete(joins.paths, j.at.path())
	_ = j.dir.Close() // nothing was written through it
}

// Pauses between looks when nobody leads, or nobody listens yet. The next look costs a few system calls.
const (
	minPause = time.Millisecond
	maxPause = 20 * time.Millisecond
)

// run goes round until there is a heap, an error, or the end of ctx.
func (j *joining) run(ctx context.Context) (*Heap, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		h, err := j.open()
		if errors.Is(err, ErrNotExist) {
			j.release() // what a coordinator that is gone had proposed
			h, err = j.meet(ctx)
		}
		if !errors.Is(err, errAgain) {
			return h, err
		}
		if j.heard {
			pause, j.heard = minPause, false
		}
		select {
		case <-ctx.Done():
			return nil, j.ended(context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// open attaches to the heap, over the reservation where there is one at its base.
func (j *joining) open() (*Heap, error) {
	f, err := j.at.open(j.dir)
	if err != nil {
		return nil, err
	}
	given := j.reservation
	j.reservation = nil
	return attachTo(&Heap{file: f, path: j.at.path(), reservation: given}, nil)
}

// meet takes part in one rendezvous, as coordinator or as member. It returns errAgain when it is over
// without a result for this process.
func (j *joining) meet(ctx context.Context) (*Heap, error) {
	m, err := openMeeting(j.dir, j.at.file)
	if err != nil {
		return nil, err
	}
	defer m.close()
	leads, err := m.lead()
	switch {
	case err != nil:
		return nil, err
	case leads:
		return j.lead(ctx, m)
	}
	conn, err := m.dial(ctx)
	if errors.Is(err, ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	if err != nil {
		return nil, errAgain // nobody listens yet, or any more
	}
	defer conn.Close()
	return nil, j.follow(ctx, conn)
}

// reserve takes the proposed base, and remembers what is in the way where it cannot.
func (j *joining) reserve(base uint64) error {
	j.release()
	r, err := claim(base, j.wish.Size)
	if err != nil {
		j.refused = remember(j.refused, obstacles(err, base, j.wish.Size))
		return err
	}
	j.reservation = r
	return nil
}

// obstacles returns what to stay clear of after a reservation failed.
func obstacles(err error, base, size uint64) []probe.Range {
	all := []probe.Range{{Start: base, End: base + size}}
	taken, ok := errors.AsType[*probe.TakenError](err)
	if !ok || len(taken.Mappings) == 0 || len(taken.Mappings) > maxRefused/4 {
		return all
	}
	all = all[:0]
	for _, m := range taken.Mappings {
		all = append(all, m.Range)
	}
	return all
}

// remember appends ranges and forgets the oldest beyond what a message may hold.
func remember(old, ranges []probe.Range) []probe.Range {
	all := append(old, ranges...)
	return all[max(0, len(all)-maxRefused):]
}

// release gives up the reservation, if there is one.
func (j *joining) release() {
	_ = j.reservation.Release() // at worst the addresses stay reserved
	j.reservation = nil
}

// ended returns the story with its end.
func (j *joining) ended(err error) error {
	story := j.story
	story.Err = err
	return &story
}
