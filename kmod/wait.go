package kmod

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// How long a queue is looked at before its user sleeps: a few microseconds.
const (
	eagerLooks = 100
	lookPauses = 4
)

// await calls try until it is done or fails with another error than busy, or until ctx is done. In between it
// sleeps in Go's poller, on a descriptor of a queue of which try wants what, sys.Readable or sys.Writable.
//
//	sleeper: try: busy; ask the descriptor, which makes the kernel tell what comes later; try; sleep
//	kernel:  change the queue; if somebody has asked: wake
func await(ctx context.Context, f *os.File, what int16, busy error, try func() error) error {
	for range eagerLooks {
		if err := try(); !errors.Is(err, busy) {
			return err
		}
		mem.Pause(lookPauses)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	release := until(ctx, f)
	defer release()
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	sleep := conn.Read
	if what == sys.Writable {
		sleep = conn.Write
	}
	var result error
	err = sleep(func(fd uintptr) (over bool) {
		result, over = attempt(ctx, fd, what, busy, try)
		return over
	})
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(result, err)
}

// attempt tries after it has asked, so that nothing that happens from here on goes unnoticed.
func attempt(ctx context.Context, fd uintptr, what int16, busy error, try func() error) (result error, over bool) {
	for {
		ready, err := sys.Ready(fd, what)
		if err != nil {
			return err, true
		}
		if err := try(); !errors.Is(err, busy) {
			return err, true
		}
		if !ready {
			return nil, false
		}
		if err := ctx.Err(); err != nil {
			return err, true
		}
	}
}

// until makes waits on f end when ctx does, until it is released. One goroutine may use it at a time.
func until(ctx context.Context, f *os.File) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		_ = f.SetDeadline(time.Unix(1, 0)) // long ago; a closed file waits for nothing
	})
	return func() {
		if !stop() {
			<-over
			_ = f.SetDeadline(time.Time{})
		}
	}
}
