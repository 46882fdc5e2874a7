package join

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/probe"
)

// limitAddresses leaves this process that many bytes of addresses.
func limitAddresses(left uint64) error {
	all, err := probe.Self()
	if err != nil {
		return err
	}
	for _, m := range all {
		left += m.Size()
	}
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: left, Max: left})
}

func init() {
	commands["limit"] = func(_ *session, args []string) (string, error) { return "limited", limitAddresses(number(args[0])) }
}

// TestLimited: a member that has too few addresses left for the heap is named to all, who ever leads.
func TestLimited(t *testing.T) {
	const left, large = 512 << 20, 1 << 30 // a program needs some for its threads
	for leader := range 2 {
		t.Run(fmt.Sprint("leader ", leader), func(t *testing.T) {
			g := newGroup(t)
			limited, other := g.start(), g.start()
			if answer := limited.Ask(fmt.Sprintf("limit %d", left)); answer != "limited" {
				t.Fatal(answer)
			}
			first, second := limited, other
			if leader == 1 {
				first, second = other, limited
			}
			first.Tell(fmt.Sprintf("%s %d", join(2), large))
			g.listening()
			second.Tell(fmt.Sprintf("%s %d", join(2), large))
			for range 2 {
				answer := first.Hear()
				for _, part := range []string{
					"no-agreement", fmt.Sprintf("pid %d ", limited.PID()), "address space limit (RLIMIT_AS) leaves ", " are needed",
				} {
					if !strings.Contains(answer, part) {
						t.Errorf("%q lacks %q", answer, part)
					}
				}
				first, second = second, first
			}
		})
	}
}
