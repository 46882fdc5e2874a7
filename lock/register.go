package lock

import (
	"context"
	"fmt"

	"github.com/shmheap/shmheap/internal/crashpoint"
	"github.com/shmheap/shmheap/internal/mem"
)

// Register is a register of a device in a mapping: 32 or 64 bits that are read and written whole, with
// plain loads and stores, as atomic instructions may not work there or not at all: see CheckAtomics.
type Register[T uint32 | uint64] struct {
	at *T
}

// RegisterAt returns the register at an offset into a mapping, which must be aligned. It returns ErrCorrupt
// for a place outside the mapping.
func RegisterAt[T uint32 | uint64](mapping []byte, offset uint64) (Register[T], error) {
	at, ok := mem.Place[T](mapping, offset)
	if !ok {
		return Register[T]{}, fmt.Errorf("%w: register at %#x of %d bytes", ErrCorrupt, offset, len(mapping))
	}
	return Register[T]{at}, nil
}

// Read reads the register once. What was read and written before is done first.
func (r Register[T]) Read() T { return mem.ReadDevice(r.at) }

// Write writes the register once. What was read and written before is done first, and it is done before
// whatever comes after.
func (r Register[T]) Write(v T) { mem.WriteDevice(r.at, v) }

// Guard lets processes that share a register change different bits of it. The lock lies in normal memory
// that all of them share; the register sees plain loads and stores. All who write the register must do
// so under this lock, kernels included, or else use the device's own set and clear registers.
//
// A holder that dies has either written the register or has not, so the next one goes on.
type Guard[T uint32 | uint64] struct {
	mutex    *Mutex
	peers    Peers
	register Register[T]
}

// NewGuard returns a guard of a register. Processes that share the register share the mutex.
func NewGuard[T uint32 | uint64](p Peers, m *Mutex, r Register[T]) *Guard[T] {
	return &Guard[T]{mutex: m, peers: p, register: r}
}

// Update replaces the register's value by f of it, and returns both. f must not block; when it panics, the
// register stays as it was and the lock is free. The errors are those of Mutex.Lock but for ErrOwnerDied.
func (g *Guard[T]) Update(ctx context.Context, f func(T) T) (before, after T, err error) {
	err = g.mutex.Lock(ctx, g.peers)
	if isOwnerDied(err) {
		err = g.mutex.MarkConsistent(g.peers)
	}
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = g.mutex.Unlock(g.peers) }()
	before = g.register.Read()
	after = f(before)
	crashpoint.Hit("lock.guard.after-read")
	g.register.Write(after)
	crashpoint.Hit("lock.guard.after-write")
	return before, after, nil
}

// SetBits sets bits and returns what was there before. The errors are Update's.
func (g *Guard[T]) SetBits(ctx context.Context, bits T) (T, error) {
	before, _, err := g.Update(ctx, func(v T) T { return v | bits })
	return before, err
}

// ClearBits clears bits and returns what was there before. The errors are Update's.
func (g *Guard[T]) ClearBits(ctx context.Context, bits T) (T, error) {
	before, _, err := g.Update(ctx, func(v T) T { return v &^ bits })
	return before, err
}

// Toggle inverts bits and returns what was there before. The errors are Update's.
func (g *Guard[T]) Toggle(ctx context.Context, bits T) (T, error) {
	before, _, err := g.Update(ctx, func(v T) T { return v ^ bits })
	return before, err
}

// Read reads the register, without the lock: one load needs none.
func (g *Guard[T]) Read() T { return g.register.Read() }
