//go:build linux || darwin

package sys

import (
	"errors"
	"os"
)

// Event is a pair of descriptors: what is written to the one makes the other readable until it is
// cleared. Where the system has eventfd both are the same.
type Event struct {
	reader, writer *os.File
}

// Reader returns the descriptor that becomes readable.
func (e *Event) Reader() *os.File { return e.reader }

// Writer returns the descriptor for SignalEvent.
func (e *Event) Writer() *os.File { return e.writer }

// Wait waits in Go's poller until the event is signalled, and clears it.
func (e *Event) Wait() error {
	var buf [64]byte
	_, err := e.reader.Read(buf[:])
	return err
}

// Close closes both descriptors.
func (e *Event) Close() error {
	if e.reader == e.writer {
		return e.reader.Close()
	}
	return errors.Join(e.reader.Close(), e.writer.Close())
}

// SignalEvent makes the reader of an event readable. One that is so already stays so.
func SignalEvent(writer *os.File) error {
	one := [8]byte{1} // as a number, of a little-endian system, for eventfd
	conn, err := writer.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Write(func(fd uintptr) bool { inner = writeOnce(int(fd), one[:]); return true }); err != nil {
		return err
	}
	return inner
}

// Clear makes the event unreadable again.
func (e *Event) Clear() error {
	conn, err := e.reader.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Read(func(fd uintptr) bool { inner = readAll(int(fd)); return true }); err != nil {
		return err
	}
	return inner
}
