package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Ring takes records from programs (HelperRingOutput) and wakes who waits for them: the one way from a program to
// a sleeping process. It is made for wake-ups and news; data are better put into the arena.
//
// One goroutine reads at a time.
type Ring struct {
	file     *os.File
	poll     *os.File
	consumed *mem.Word
	produced *mem.Word
	data     mem.Memory // the data pages twice, so that no record is cut
	mask     uint64
	unmap    []func() error
	close    sync.Once
}

const mapRing = 27 // BPF_MAP_TYPE_RINGBUF

// Words of a record's header (kernel/bpf/ringbuf.c).
const (
	recordBusy    = 1 << 31
	recordDiscard = 1 << 30
	recordHeader  = 8
)

// ErrEmpty is returned by TryRead when there is no record.
var ErrEmpty = errors.New("no record")

// NewRing makes a ring of size bytes, a power of two and a multiple of the page size.
func NewRing(size int) (*Ring, error) {
	f, err := sys.MapCreate(&sys.MapSpec{Type: mapRing, MaxEntries: uint32(size), Name: "shmheap_ring"})
	if errors.Is(err, os.ErrPermission) {
		err = &SupportError{"make a ring", "CAP_BPF", err}
	}
	if err != nil {
		return nil, err
	}
	r := &Ring{file: f, mask: uint64(size) - 1}
	if err := r.open(size); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Ring) open(size int) (err error) {
	page := int(sys.PageSize())
	consumer, err := r.pages(0, page, true)
	if err != nil {
		return err
	}
	producer, err := r.pages(int64(page), page+2*size, false)
	if err != nil {
		return err
	}
	r.consumed, r.produced = mem.Over(consumer).Word(0), mem.Over(producer).Word(0)
	r.data = mem.Over(producer[page:])
	r.poll, err = sys.Pollable(r.file)
	return err
}

func (r *Ring) pages(off int64, n int, writable bool) ([]byte, error) {
	memory, unmap, err := sys.MapPages(r.file, off, n, writable)
	if err == nil {
		r.unmap = append(r.unmap, unmap)
	}
	return memory, err
}

// Descriptor is the ring's descriptor, for Map in programs.
func (r *Ring) Descriptor() int { return int(r.file.Fd()) }

// TryRead copies the next record into record and returns its length. It returns ErrEmpty when there is none.
func (r *Ring) TryRead(record []byte) (int, error) {
	for {
		at := r.consumed.Peek()
		if at >= r.produced.Load() {
			return 0, ErrEmpty
		}
		length := r.data.Half(at & r.mask).Load() // acquire: the record was written before
		if length&recordBusy != 0 {
			return 0, ErrEmpty
		}
		n := uint64(length &^ (recordBusy | recordDiscard))
		if n > r.mask { // the kernel alone writes this
			return 0, fmt.Errorf("record of %d bytes: %w", n, os.ErrInvalid)
		}
		copied := copy(record, r.data.Bytes(at&r.mask+recordHeader, n))
		// A full barrier: the program that has not seen this wakes nobody, and its record is seen below.
		r.consumed.Swap(at + (recordHeader+n+7)&^7)
		if length&recordDiscard == 0 {
			return copied, nil
		}
	}
}

// Read is TryRead that waits, in Go's poller, until there is a record or ctx is done.
func (r *Ring) Read(ctx context.Context, record []byte) (n int, err error) {
	conn, err := r.poll.SyscallConn()
	if err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = r.poll.SetReadDeadline(time.Unix(1, 0)) })()
	for ctx.Err() == nil {
		wait := conn.Read(func(uintptr) bool {
			n, err = r.TryRead(record)
			return !errors.Is(err, ErrEmpty)
		})
		if !errors.Is(wait, os.ErrDeadlineExceeded) {
			return n, errors.Join(wait, err)
		}
		// ctx is done, or the one of an earlier Read was. In the former case the deadline may be set again behind this.
		if err := r.poll.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
	return 0, ctx.Err()
}

// Close gives the ring up. Nobody may be reading.
func (r *Ring) Close() error {
	var errs []error
	r.close.Do(func() {
		for _, unmap := range r.unmap {
			errs = append(errs, unmap())
		}
		if r.poll != nil {
			errs = append(errs, r.poll.Close())
		}
		errs = append(errs, r.file.Close())
	})
	return errors.Join(errs...)
}
