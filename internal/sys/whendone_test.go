package sys

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestWhenDone: f is called when the context ends and not after stop, and is over when stop returns.
func TestWhenDone(t *testing.T) {
	var calls atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	WhenDone(ctx, func() { calls.Add(1) })()
	WhenDone(context.Background(), func() { calls.Add(1) })()
	begun := make(chan struct{})
	stop := WhenDone(ctx, func() {
		close(begun)
		time.Sleep(20 * time.Millisecond) // long enough for a stop that does not wait
		calls.Add(1)
	})
	cancel()
	<-begun
	if stop(); calls.Load() != 1 {
		t.Errorf("%d calls are over, want 1", calls.Load())
	}
}
