package heap

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Join besides those of Create and Open. They come in a *JoinError.
var (
	// ErrMembers: JoinOptions.Members is negative or above MaxMembers.
	ErrMembers = errors.New("invalid number of members")
	// ErrNoAgreement: no base was found that all members can take.
	ErrNoAgreement = errors.New("no base that all members can take")
	// ErrDisagree: the members do not want the same heap: its size, its tables, or how many they are.
	ErrDisagree = errors.New("members want different heaps")
	// ErrJoinFailed: the member that was to create the heap could not; the text says why.
	ErrJoinFailed = errors.New("the heap could not be created")
)

var (
	errProtocol = errors.New("not the protocol of Join")
	errAgain    = errors.New("rendezvous is over, look again")
)

// failures are the errors that a coordinator tells the others, by code.
var failures = map[string]error{"agreement": ErrNoAgreement, "disagree": ErrDisagree, "create": ErrJoinFailed}

// JoinError tells how far the members came. It wraps the reason: an error of this package, or that of
// the context.
type JoinError struct {
	Name    string   // of the heap
	Wanted  int      // members
	Present int      // of them, this one included, as far as it knows
	Members []Member // those of them that are known by name: the first 32
	Silent  []Member // those that were asked for a reservation and did not answer, or the coordinator that said nothing
	Refused []string // proposals that came to nothing, each with who refused it and why
	Err     error    // the reason

	// Disagreed are members that were turned away, as they want another heap than this process, each with what: the
	// last 256.
	Disagreed []string
}

// Error says who came, what was refused and why it ended.
func (e *JoinError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d members came%s", e.Present, e.Wanted, list(e.Members))
	if len(e.Silent) > 0 {
		fmt.Fprintf(&b, "; no answer from%s", list(e.Silent))
	}
	b.WriteString(e.refusals())
	if n := len(e.Disagreed); n > 0 {
		fmt.Fprintf(&b, "; %d more wanted another heap, the last: %s", n, e.Disagreed[n-1])
	}
	return fmt.Sprintf("%s: %v", b.String(), e.Err)
}

// refusals says what came of proposals, as the end of a sentence.
func (e *JoinError) refusals() string {
	n := len(e.Refused)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d proposals were refused, the last: %s", n, e.Refused[n-1])
}

// Unwrap returns the reason.
func (e *JoinError) Unwrap() error { return e.Err }

// list returns ": pid 12 (a), 13 (b)", or nothing.
func list(members []Member) string {
	if len(members) == 0 {
		return ""
	}
	texts := make([]string, len(members))
	for i, m := range members {
		texts[i] = m.String()
	}
	return ": pid " + strings.Join(texts, ", ")
}
