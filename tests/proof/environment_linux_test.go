//go:build !crashpoint && !shmheap_portable

package proof

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// An environment is a way to start a program, and how it must end then.
type environment struct {
	name    string
	wrap    []string // the command that runs the program
	env     []string // set in addition
	refusal string   // what the program must report, "" where it must attach
}

var plain = environment{name: "plain"}

// layouts are the arrangements of an address space that people choose.
var layouts = []environment{
	plain,
	{name: "no randomisation", wrap: []string{"setarch", "-R"}},
	{name: "legacy layout", wrap: []string{"setarch", "-L"}},
	{name: "unlimited stack", wrap: ulimit("-s unlimited")},
}

// occupied is where something else lies in the middle of the heap's range.
var occupied = environment{name: "occupied", env: []string{"SHMHEAP_PROOF_SQUAT=1"}, refusal: "refused: taken"}

// limited is where the program may have that many KiB of addresses: enough for itself, and less than
// the heap.
func limited(kib int) environment {
	return environment{name: "address limit", wrap: ulimit(fmt.Sprint("-v ", kib)), refusal: "refused: address limit"}
}

// ulimit is the command that runs another with a limit.
func ulimit(limit string) []string {
	return []string{"bash", "-c", "ulimit " + limit + ` && exec "$@"`, "bash"}
}

// times returns how often to start a program that starts n times in the plain environment.
func (e environment) times(n int) int {
	if e.name == plain.name {
		return n
	}
	return (n + 1) / 2
}

// command returns the command that runs another in this environment, for a limited time.
func (e environment) command(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), shmtest.Patience)
	t.Cleanup(cancel)
	all := append(e.wrap[:len(e.wrap):len(e.wrap)], args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	// The race detector sleeps for a second before a program ends, unless it is told not to.
	cmd.Env = append(cmd.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, e.env...)
	return cmd
}

// want skips the test where the environment cannot be had.
func (e environment) want(t *testing.T) {
	t.Helper()
	if len(e.wrap) == 0 {
		return
	}
	need(t, e.wrap[0], "install util-linux and bash")
	if text, err := e.command(t, []string{"true"}).CombinedOutput(); err != nil {
		shmtest.SkipAnywhere(t, fmt.Sprintf("a sandbox or a hard limit forbids %v: %v: %s", e.wrap, err, text))
	}
}

// wantStart skips the test, when a program has failed, if it does not even start where it is not told
// of a heap: some sanitizers refuse some layouts.
func (e environment) wantStart(t *testing.T, args []string) {
	t.Helper()
	text, err := e.command(t, args).CombinedOutput()
	if err == nil {
		return
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	why := fmt.Sprintf("does not start here, heap or no heap: %v: %s", err, first)
	if len(e.wrap) > 0 {
		shmtest.SkipAnywhere(t, why)
	}
	shmtest.Skip(t, why, "if it is a sanitizer, set sysctl vm.mmap_rnd_bits=28")
}

// need skips the test where a program is not installed and returns its path.
func need(t *testing.T, program, install string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		shmtest.Skip(t, "no "+program, install)
	}
	return path
}
