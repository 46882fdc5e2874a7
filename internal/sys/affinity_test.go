package sys_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// TestPinnedThreadHasOneProcessor does it in a goroutine that ends, and with it the thread.
func TestPinnedThreadHasOneProcessor(t *testing.T) {
	cpus, err := sys.Processors()
	if err != nil || len(cpus) == 0 {
		t.Fatalf("processors %v, %v", cpus, err)
	}
	last := cpus[len(cpus)-1]
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := sys.Pin(last)
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		if now, listErr := sys.Processors(); err != nil || listErr != nil || !slices.Equal(now, []int{last}) {
			t.Errorf("pinned to %d: %v; may run on %v: %v", last, err, now, listErr)
		}
	}()
	<-done
}

func TestTicksGoOn(t *testing.T) {
	begin := sys.Ticks()
	time.Sleep(time.Millisecond)
	if short := sys.Ticks() - begin; short == 0 || short > 1<<40 {
		t.Errorf("a millisecond is %d ticks", short)
	}
}
