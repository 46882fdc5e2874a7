package launch

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shmheap/shmheap/internal/stamp"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// againVariable counts how often a process has started its program again: "PID:COUNT". The process id
// survives exec, and programs that this one starts have others, so they begin to count anew. Its
// presence, with the right id, also allows to start again.
const againVariable = "SHMHEAP_REEXEC"

// maxAgain is how often a program is started again at most. A random heap of Go that hits a range with
// probability p still does so with p^4.
const maxAgain = 3

// Reasons why the program was not started again.
var (
	ErrNotAllowed = errors.New("starting again is not allowed")
	ErrNoRemedy   = errors.New("starting again does not help")
)

// Again starts the program of this process again because the range that taken tells of is not free: a
// program with a fixed address from a copy with a stamp for the range, and any other as it is, provided
// that what lies there was placed at random. Arguments, environment, working directory, process id and
// those descriptors stay that are not close-on-exec; all else of the process is lost. It returns only
// when it cannot, or with ErrNoRemedy. Without force it returns ErrNotAllowed unless a launcher allows it.
func Again(taken *probe.TakenError, force bool) error {
	count, allowed := timesAgain(os.Getenv(againVariable))
	switch {
	case !allowed && !force:
		return ErrNotAllowed
	case count >= maxAgain:
		return fmt.Errorf("%w: it was tried %d times", ErrNoRemedy, count)
	}
	env := setenv(os.Environ(), againVariable, againValue(count+1))
	err := againStamped(taken.Range, env)
	if errors.Is(err, ErrStart) {
		return err
	}
	if c := stays(taken.Range); c != nil {
		return fmt.Errorf("%w: %v is likely to be there again; %w", ErrNoRemedy, c, err)
	}
	return start(programPath(), os.Args, env)
}

// againStamped returns why there can be no stamp, or that the copy could not be executed.
func againStamped(span probe.Range, env []string) error {
	program, err := sys.OpenProgram()
	if err != nil {
		return err
	}
	defer program.Close()
	there, err := stamp.Ranges(program)
	if err != nil {
		return err
	}
	if slices.Contains(there, stamp.Range{Base: span.Start, Size: span.Size()}) {
		return fmt.Errorf("%v was stamped before", span)
	}
	l := Launch{Ranges: []probe.Range{span}}
	if err := l.reachable(); err != nil {
		return err
	}
	return ExecStamped(program.Name(), os.Args, env, l.Ranges)
}

// programPath returns the path of this process's executable; one whose name is gone has none but that
// in /proc.
func programPath() string {
	path, err := os.Executable()
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return path
		}
	}
	return self
}

// withAgain returns env with the permission to start again.
func withAgain(env []string) []string { return setenv(env, againVariable, againValue(0)) }

func againValue(count int) string { return fmt.Sprintf("%d:%d", os.Getpid(), count) }

// timesAgain reads the variable of this process.
func timesAgain(value string) (count int, allowed bool) {
	pid, text, _ := strings.Cut(value, ":")
	if pid != strconv.Itoa(os.Getpid()) {
		return 0, false
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 0 {
		return math.MaxInt, true // somebody has tampered with it: no more of this
	}
	return count, true
}

// stays returns what lies in the range and is not known to be placed at random, or nil. It looks anew: a
// heap that grew since the reservation failed is another mapping now.
func stays(span probe.Range) *probe.Conflict {
	all, err := probe.Self()
	if err != nil {
		return nil
	}
	for _, c := range probe.Conflicts(span, all) {
		if c.Class.Placement != probe.Random {
			return &c
		}
	}
	return nil
}
