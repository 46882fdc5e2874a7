package sys

// StopKind says why a traced thread stands still.
type StopKind int

// The kinds of Stop.
const (
	StopGone    StopKind = iota // it has ended
	StopExec                    // a new program is loaded and has not run yet
	StopSyscall                 // entry to or exit from a system call
	StopSignal                  // Signal is about to be delivered
	StopGroup                   // it is stopped by job control, with Signal
)

// Stop is one report of WaitTracee.
type Stop struct {
	PID    int
	Kind   StopKind
	Signal int
}
