package probe

import (
	"fmt"
	"math"
	"syscall"
	"testing"
)

func init() { children["headroom"] = headroomOfChild }

func TestHeadroom(t *testing.T) {
	if got := Headroom(); got != math.MaxUint64 {
		t.Logf("note: the tests run with a limit that leaves %d bytes", got)
	}
	if !raceEnabled { // its shadow is larger than any limit
		runChild(t, "headroom")
	}
}

func headroomOfChild() error {
	limit := look(Range{}).used + 1*gib
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	if got := Headroom(); got > gib || got < gib/2 {
		return fmt.Errorf("headroom %d, want about 1 GiB", got)
	}
	return nil
}
