package shmtest

import (
	"context"
	"sync"
)

// Begun is a context that closes Told when somebody looks whether it is done for the first time: when a call has begun to
// wait.
type Begun struct {
	context.Context
	Told chan struct{}
	once sync.Once
}

// NewBegun returns one that ends with ctx.
func NewBegun(ctx context.Context) *Begun { return &Begun{Context: ctx, Told: make(chan struct{})} }

func (b *Begun) tell() { b.once.Do(func() { close(b.Told) }) }

// Done implements context.Context.
func (b *Begun) Done() <-chan struct{} {
	b.tell()
	return b.Context.Done()
}

// Err implements context.Context.
func (b *Begun) Err() error {
	b.tell()
	return b.Context.Err()
}
