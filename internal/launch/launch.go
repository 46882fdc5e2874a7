package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/shmheap/shmheap/internal/handshake"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// Errors that say what went wrong, beside those of exec.
var (
	// ErrNotReserved: the ranges could not be reserved, and Launch.Require is set.
	ErrNotReserved = errors.New("cannot reserve")
	// ErrPrivileged: the program, or the interpreter of the script, is setuid, setgid or has capabilities. Tracing takes these away, and a
	// copy does not have them.
	ErrPrivileged = errors.New("has privileges of its own (setuid, setgid or capabilities)")
	// ErrStart: the program cannot be executed. The error also wraps exec.ErrNotFound or the errno.
	ErrStart = errors.New("cannot start")
)

// Launch says what to start and what to reserve.
type Launch struct {
	Args    []string      // of the program; Args[0] is looked up in PATH
	Ranges  []probe.Range // multiples of probe.Guard
	Require bool          // start the program with its reservations or not at all
	Tracer  []string      // arguments with which this executable calls Trace
	Warn    io.Writer     // where to say that the program starts without reservations
}

// Exec becomes the program. It returns only when it cannot: ErrStart, ErrPrivileged or, where that is
// required, ErrNotReserved; errors.ErrUnsupported on other systems than Linux.
func (l *Launch) Exec() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("reserve addresses in another program: needs Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	path, err := l.find()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the thread that is traced is the one that calls exec
	defer runtime.UnlockOSThread()
	err = l.execReserved(path)
	if errors.Is(err, ErrStart) {
		return err
	}
	if l.Require {
		return fmt.Errorf("%w for %s: %w", ErrNotReserved, l.Args[0], err)
	}
	fmt.Fprintf(l.Warn, "shmheap: warning: %s starts without %s reserved: %v\n", l.Args[0], l.ranges(), err)
	return start(path, l.Args, withAgain(os.Environ()))
}

// execReserved becomes the program with its reservations. Any error but ErrStart means that they cannot
// be had.
func (l *Launch) execReserved(path string) error {
	if err := l.reachable(); err != nil {
		return err
	}
	f, err := os.Open(path) // the kernel hides what is executable and not readable from a tracer too
	if err != nil {
		return err
	}
	f.Close()
	traced := l.execTraced(path)
	if errors.Is(traced, ErrStart) {
		return traced
	}
	return fmt.Errorf("%w; %w", traced, ExecStamped(path, l.Args, os.Environ(), l.Ranges))
}

func (l *Launch) ranges() string {
	texts := make([]string, len(l.Ranges))
	for i, r := range l.Ranges {
		texts[i] = r.String()
	}
	return strings.Join(texts, " and ")
}

// find returns the path of the program, and refuses one that would lose its privileges. What binfmt_misc
// puts in front of a program it does not know.
func (l *Launch) find() (string, error) {
	path, err := exec.LookPath(l.Args[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStart, err)
	}
	last := executed(path)
	privileged, err := isPrivileged(last)
	switch {
	case privileged:
		return "", fmt.Errorf("%s %w", last, ErrPrivileged)
	case last != path: // of an interpreter that is not there exec will say so
		return path, nil
	}
	return path, err
}

// isPrivileged looks at the mode only where the program can be executed and not read.
func isPrivileged(path string) (bool, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		return sys.Privileged(f)
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0, err
}

// reachable reports why no program of this user can have the ranges. It saves a stamped program from
// being killed by exec.
func (l *Launch) reachable() error {
	limit, err := sys.AddressLimit()
	if err != nil {
		return err
	}
	total := uint64(0)
	for _, r := range l.Ranges {
		total += r.Size()
		if err := probe.Reachable(r); err != nil {
			return err
		}
	}
	if total > limit {
		return fmt.Errorf("%w of %d bytes: %d needed", probe.ErrAddressLimit, limit, total)
	}
	return nil
}

// execTraced starts a tracer and becomes the program. Any error but ErrStart means that there is no
// tracer.
func (l *Launch) execTraced(path string) error {
	nonce := handshake.NewNonce()
	if err := l.startTracer(nonce); err != nil {
		return err
	}
	entries := make([]handshake.Entry, len(l.Ranges))
	for i, r := range l.Ranges {
		entries[i] = handshake.Entry{Base: r.Start, Size: r.Size(), Nonce: nonce}
	}
	return start(path, l.Args, setenv(os.Environ(), handshake.Variable, handshake.Format(entries)))
}

// start becomes the program at path.
func start(path string, args, env []string) error {
	return fmt.Errorf("%w: %w", ErrStart, sys.Exec(path, args, env))
}

// setenv returns env with one variable set.
func setenv(env []string, name, value string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, name+"=") {
			out = append(out, e)
		}
	}
	return append(out, name+"="+value)
}
