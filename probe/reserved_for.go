package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/shmheap/shmheap/internal/handshake"
	"github.com/shmheap/shmheap/internal/stamp"
	"github.com/shmheap/shmheap/internal/sys"
)

// ErrUnproved: what was reserved for a process cannot be seen by this one.
var ErrUnproved = errors.New("cannot prove what was reserved for the process")

// ReservedFor returns the ranges that were reserved for the process pid before its first instruction and
// that it has not taken over yet: those that Adopt would give it, proved from outside by the same means.
//
// Errors: those of Of; and one that wraps ErrUnproved, beside the ranges that could be proved. To see the
// environment and the memory of another process takes the right to trace it (man 2 ptrace, "Ptrace access
// mode checking"), which is more than the right to see its mappings. Any number of goroutines may call it
// at once.
func ReservedFor(pid int) ([]Range, error) {
	mappings, err := Of(pid)
	if err != nil {
		return nil, err
	}
	launched, errLaunched := launchedOf(pid, mappings)
	stamped, errStamped := stampedOf(pid, mappings)
	if err := errors.Join(errLaunched, errStamped); err != nil {
		return append(launched, stamped...), fmt.Errorf("process %d: %w: %w", pid, ErrUnproved, err)
	}
	return append(launched, stamped...), nil
}

// Announced returns the ranges that the environment of the process pid, or of this one where pid is 0, says a launcher
// has reserved. It proves nothing, as the environment is inherited: what is announced to a process and neither reserved
// for it nor taken over by it was reserved for a program that started it, such as a script.
//
// Errors: one that wraps ErrUnproved where the environment cannot be seen. Any number of goroutines may call it at once.
func Announced(pid int) ([]Range, error) {
	if pid == 0 {
		return spansOf(handshake.Parse(os.Getenv(handshake.Variable))), nil
	}
	value, err := sys.EnvironmentOf(pid, handshake.Variable)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w: %w", pid, ErrUnproved, err)
	}
	return spansOf(handshake.Parse(value)), nil
}

// launchedOf returns what a launcher has reserved.
func launchedOf(pid int, mappings []Mapping) (proved []Range, err error) {
	value, err := sys.EnvironmentOf(pid, handshake.Variable)
	if err != nil {
		return nil, err
	}
	entries := handshake.Parse(value)
	spans := spansOf(entries)
	for i, e := range entries {
		if !reservedAlone(mappings, spans[i], spans, hasNoFile) {
			continue
		}
		var got handshake.Nonce
		err := sys.ReadMemoryOf(pid, e.Base, got[:])
		switch {
		case saysNonce(err, got, e.Nonce):
			proved = append(proved, spans[i])
		case err != nil:
			return proved, err
		}
	}
	return proved, nil
}

// saysNonce reports whether memory that was read begins with the nonce, or the kernel shows nobody such
// memory, which is EIO.
func saysNonce(err error, got, want handshake.Nonce) bool {
	return errors.Is(err, sys.EIO) || err == nil && bytes.Equal(got[:], want[:])
}

func spansOf(entries []handshake.Entry) []Range {
	spans := make([]Range, len(entries))
	for i, e := range entries {
		spans[i] = Range{e.Base, e.Base + e.Size}
	}
	return spans
}

// stampedOf returns what the executable reserves.
func stampedOf(pid int, mappings []Mapping) (proved []Range, err error) {
	f, err := sys.OpenProgramOf(pid)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	stamps, err := stamp.Ranges(f)
	if err != nil {
		return nil, nil // no program that this library has stamped
	}
	right := mappingOf(f)
	for _, s := range stamps {
		span := Range{s.Base, s.End()}
		if reservedAlone(mappings, span, []Range{span}, right) {
			proved = append(proved, span)
		}
	}
	return proved, nil
}
