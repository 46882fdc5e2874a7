package sys

import "context"

// WhenDone calls f, in a goroutine of its own, when ctx is done before stop is called. It is context.AfterFunc but for
// stop, which waits for an f that has begun: what f touches, such as a mapping, may be gone soon after. f must not wait
// for the caller of stop.
func WhenDone(ctx context.Context, f func()) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(over)
		f()
	})
	return func() {
		if !cancel() {
			<-over
		}
	}
}
