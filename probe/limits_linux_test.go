package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

func init() {
	children["address limit"] = reserveOverAddressLimit
	children["map count"] = reserveOverMapCount
}

func TestAddressLimit(t *testing.T) {
	out := runChild(t, "address limit")
	for _, part := range []string{"address space limit (RLIMIT_AS) of ", " in use, 1073741824 more needed"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q lacks %q", out, part)
		}
	}
}

// reserveOverAddressLimit leaves 256 MiB of address space and asks for 1 GiB, then for 1 MiB.
func reserveOverAddressLimit() error {
	window := Windows()[0]
	span := Range{window.Start + Slot, window.Start + 2*Slot}
	limit := look(span).used + 256*mib
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	for _, take := range []way{byFlag, byHint} {
		_, err := reserve(span.Start, Slot, take)
		if !errors.Is(err, ErrAddressLimit) {
			return fmt.Errorf("over the limit: %v", err)
		}
		fmt.Println(err)
	}
	if _, err := Find(Slot, nil); !errors.Is(err, ErrAddressLimit) || errors.Is(err, ErrNoWindow) {
		return fmt.Errorf("find: %v", err)
	}
	r, err := Reserve(span.Start, mib)
	return errors.Join(err, r.Release())
}

func TestMapCount(t *testing.T) {
	limit, err := sys.MapCountLimit()
	if err != nil {
		t.Fatal(err)
	}
	if limit > 1<<17 {
		shmtest.SkipAnywhere(t, fmt.Sprintf("vm.max_map_count is %d, too many to use up; sysctl -w vm.max_map_count=65530", limit))
	}
	if out := runChild(t, "map count"); !strings.Contains(out, "too many mappings (vm.max_map_count): ") {
		t.Error(out)
	}
}

// reserveOverMapCount uses up all mappings and asks for one more. Go's runtime does not survive that
// it cannot map memory, so it gets some to go on with first, and what it makes when something is done for the
// first time is made before.
func reserveOverMapCount() error {
	ballast := make([]byte, 64*mib)
	for i := 0; i < len(ballast); i += os.Getpagesize() {
		ballast[i] = 1
	}
	ballast = nil
	runtime.GC()
	debug.SetGCPercent(-1)
	window := Windows()[0]
	limit, err := sys.MapCountLimit()
	if err != nil {
		return err
	}
	if err := rehearse(window.End - 2*Slot); err != nil {
		return err
	}
	base := window.Start + 2*Guard
	for i := range limit + 2 {
		if _, err = sys.ReserveHint(base+i*2*Guard, Guard); err != nil {
			break
		}
	}
	if err == nil {
		return errors.New("the kernel does not limit mappings")
	}
	_, err = Reserve(window.End-2*Slot, mib)
	if !errors.Is(err, ErrMapCount) {
		return fmt.Errorf("want ErrMapCount: %w", err)
	}
	fmt.Println(err)
	return nil
}

// rehearse makes Reserve succeed once, and fail once in a way that is told like the one that is to come.
func rehearse(base uint64) error {
	r, err := Reserve(base, mib)
	if err != nil {
		return err
	}
	_, err = Reserve(base, mib)
	if errors.Is(err, ErrMapCount) || err == nil {
		return fmt.Errorf("want ErrTaken: %w", err)
	}
	fmt.Println(err)
	return r.Release()
}
