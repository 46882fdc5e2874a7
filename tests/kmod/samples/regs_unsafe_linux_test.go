package samples

import (
	"errors"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/lock"
)

// Numbers of the calls of shmheap_regs.h.
const (
	regsAttach = 0x4010b900
	regsStat   = 0x8040b901
)

// Words of struct shmheap_regs_stat.
const (
	statIRQs = iota
	statAtOnce
	statLater
	statTries
	statWaiting
	statLost
	statBuried
	statMeddled
	statWords
)

// card is the device through the module: its registers, and the file that they are mapped with.
type card struct {
	file      *os.File
	registers []byte
	unmap     func() error
}

// openCard opens the device that the module has found, and maps it.
func openCard() (*card, error) {
	paths, err := filepath.Glob("/dev/shmheap_regs*")
	if err != nil || len(paths) == 0 {
		return nil, errors.Join(err, os.ErrNotExist)
	}
	f, err := os.OpenFile(paths[len(paths)-1], os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	registers, unmap, err := sys.MapDevice(f, os.Getpagesize())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &card{f, registers, unmap}, nil
}

func (c *card) close() error { return errors.Join(c.unmap(), c.file.Close()) }

// attach tells the module where the lock is and who we are.
func (c *card) attach(m *lock.Mutex, peer heap.PeerID) error {
	return rawCall(c.file, regsAttach, []uint64{uint64(uintptr(unsafe.Pointer(m))), uint64(peer)})
}

func (c *card) stat() (s [statWords]uint64, err error) {
	err = rawCall(c.file, regsStat, s[:])
	return s, err
}

// mutexWord is the word of a lock, which hostile programs write.
func mutexWord(m *lock.Mutex) *uint64 { return (*uint64)(unsafe.Pointer(m)) }

// addressOf is for what may be no address of a lock at all.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// call makes the attach call with any words.
func (c *card) call(address, peer uint64) error {
	return rawCall(c.file, regsAttach, []uint64{address, peer})
}
