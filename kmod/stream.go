package kmod

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"time"

	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/internal/sys"
)

// Record is one record of a stream, or the news that some are missing.
type Record struct {
	// Lost is how many records of this processor are missing at this point: overwritten before they were read, or
	// never written. Such a Record is not one itself; there is nothing else in it but CPU.
	Lost uint64
	Seq  uint64        // the record's number on its processor, from 0
	Time time.Duration // of CLOCK_MONOTONIC
	CPU  int           // on which processor it was written
	Type uint16        // the writer's
	Data []byte        // valid until the next record is asked for
}

// StreamOptions say how a stream is read. The zero value is valid.
type StreamOptions struct {
	Oldest bool // begin with the oldest record that is there, and not with the next one
	Buffer int  // bytes that are read at once. 0 means 64 KiB
	Mapped bool // map the rings and read them in place, with calls for nothing but to sleep. Buffer is not used then
}

// Stream is a reader of an instance's lossy stream. One goroutine may use it at a time, Close included; each Stream
// gets all records.
type Stream struct {
	file *os.File
	name string
	buf  []byte
	rest []byte // of buf, not returned yet
	lost uint64

	rings *rings // nil unless they are mapped
	unmap func() error
	told  []byte // what the kernel knows of where rings is
	given uint64
}

// Stream returns a reader of the instance's stream. It returns ErrNotConnected when it has none, and ErrCorrupt when what
// is mapped makes no sense.
func (i *Instance) Stream(o *StreamOptions) (*Stream, error) {
	var v StreamOptions
	if o != nil {
		v = *o
	}
	setDefault(&v.Buffer, 64<<10)
	a := streamOpenArgs{Size: streamOpenSize, Flags: flagNonblock}
	if v.Oldest {
		a.Flags |= flagOldest
	}
	if err := sys.Ioctl(i.file, iocStream, &a); err != nil {
		return nil, wrap("open stream of instance", i.name, err)
	}
	s := &Stream{file: sys.NewFile(a.FD, i.name+".stream"), name: i.name}
	if !v.Mapped {
		s.buf = make([]byte, max(v.Buffer, longestSlot))
		return s, nil
	}
	if err := s.mapRings(a.Bytes, v.Oldest); err != nil {
		return nil, errors.Join(wrap("map stream of instance", i.name, err), s.Close())
	}
	return s, nil
}

// mapRings makes the stream one that is read in place.
func (s *Stream) mapRings(bytes uint64, oldest bool) error {
	if bytes > math.MaxInt {
		return fmt.Errorf("%w: a stream of %d bytes", ErrCorrupt, bytes)
	}
	memory, unmap, err := sys.MapPages(s.file, 0, int(bytes), false)
	if err != nil {
		return err
	}
	s.unmap = unmap
	if s.rings, err = newRings(mem.Over(memory), oldest); err != nil {
		return err
	}
	s.told = make([]byte, ringHeader*len(s.rings.places))
	s.rings.seen(s.told)
	return s.tell()
}

// tell tells the kernel where the reader is.
func (s *Stream) tell() error {
	a := seenArgs{Size: seenSize, CPUs: uint32(len(s.rings.places))}
	return sys.IoctlBytes(s.file, iocSeen, &a, &a.Rings, s.told)
}

// Next waits for the next record. Records of one processor come in their order. It returns ctx's error,
// ErrCorrupt, and os.ErrClosed after Close.
func (s *Stream) Next(ctx context.Context) (Record, error) {
	var r Record
	var err error
	if s.rings != nil {
		r, err = s.nextMapped(ctx)
	} else {
		r, err = s.nextRead(ctx)
	}
	if err != nil {
		return Record{}, fmt.Errorf("stream of instance %q: %w", s.name, err)
	}
	s.lost += r.Lost
	return r, nil
}

func (s *Stream) nextRead(ctx context.Context) (r Record, err error) {
	if len(s.rest) == 0 {
		if err := s.read(ctx); err != nil {
			return r, err
		}
	}
	r, s.rest, err = parseRecord(s.rest)
	return r, err
}

// errNothing: there is no record.
var errNothing = errors.New("nothing")

// nextMapped looks at ctx now and then while there are records, as reads do.
func (s *Stream) nextMapped(ctx context.Context) (r Record, err error) {
	const often = 64
	if s.given++; s.given%often == 0 && ctx.Err() != nil {
		return r, ctx.Err()
	}
	r, found, err := s.rings.next()
	if found || err != nil {
		return r, err
	}
	return s.awaitMapped(ctx)
}

// awaitMapped sleeps on the descriptor, of which the kernel must know then where the reader is.
func (s *Stream) awaitMapped(ctx context.Context) (r Record, err error) {
	var found bool
	err = await(ctx, s.file, sys.Readable, errNothing, func() error {
		r, found, err = s.rings.next()
		switch {
		case found || err != nil:
			return err
		case s.rings.seen(s.told):
			if err := s.tell(); err != nil {
				return err
			}
		}
		return errNothing
	})
	return r, err
}

// Records returns the records until ctx is done or something else goes wrong: that comes last, as an error.
//
//	for r, err := range s.Records(ctx) {
func (s *Stream) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			r, err := s.Next(ctx)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Lost returns how many records were missing until now.
func (s *Stream) Lost() uint64 { return s.lost }

// File returns the descriptor, which is readable when there is a record. It stays the Stream's.
func (s *Stream) File() *os.File { return s.file }

// Close closes the reader.
func (s *Stream) Close() error {
	s.rings = nil
	err := s.file.Close()
	if s.unmap != nil {
		err = errors.Join(err, s.unmap())
		s.unmap = nil
	}
	return err
}

// read fills the buffer, in Go's poller where it has to wait.
func (s *Stream) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	release := until(ctx, s.file)
	defer release()
	n, err := s.file.Read(s.buf)
	s.rest = s.buf[:max(n, 0)]
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return ctx.Err()
	case err == nil && n == 0:
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseRecord splits the first record off what read has returned, which ends on a boundary of records.
func parseRecord(b []byte) (r Record, rest []byte, err error) {
	if len(b) < recordHeader {
		return r, nil, fmt.Errorf("%w: %d bytes of a record", ErrCorrupt, len(b))
	}
	bytes := int(binary.NativeEndian.Uint16(b[16:]))
	end := recordHeader + (bytes+7)&^7
	if end > len(b) {
		return r, nil, fmt.Errorf("%w: a record of %d bytes, %d are there", ErrCorrupt, end, len(b))
	}
	kind, cpu := binary.NativeEndian.Uint16(b[18:]), int(binary.NativeEndian.Uint32(b[20:]))
	data := b[recordHeader : recordHeader+bytes : recordHeader+bytes]
	if kind == recordLost {
		if bytes != 8 {
			return r, nil, fmt.Errorf("%w: a loss of %d bytes", ErrCorrupt, bytes)
		}
		return Record{Lost: binary.NativeEndian.Uint64(data), CPU: cpu}, b[end:], nil
	}
	return Record{
		Seq: binary.NativeEndian.Uint64(b) - 1, Time: time.Duration(binary.NativeEndian.Uint64(b[8:])), CPU: cpu, Type: kind, Data: data,
	}, b[end:], nil
}
