package heap

import (
	"fmt"
	"os"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

// OpenReadOnly is Open with Options.ReadOnly: the heap is mapped without the right to write, so that this process
// cannot change a byte of it. It takes no slot and is no peer: Peer returns 0, and whoever lists the peers does not see
// it. It can load roots and follow pointers, and Info, Peers, Alive, Watch, Check and their like work; what
// would change the heap returns ErrReadOnly, and a store through a pointer is a fault (SIGSEGV). Package alloc's Open
// recovers nothing on it.
//
// A reader needs the right to read the file, and not to write it. While it is there, Remove and Alone find
// the heap in use. What it reads may change under its eyes, and be freed and used for something else, unless
// the writers have agreed to leave it alone.
func OpenReadOnly(name string, opts *Options) (*Heap, error) {
	o := opts.orDefault()
	o.ReadOnly = true
	return Open(name, &o)
}

// ReadOnly reports whether the heap is open for reading alone.
func (h *Heap) ReadOnly() bool { return h.readOnly }

// openAt returns how the file of a heap is opened with these options.
func (o *Options) openAt() func(*os.File, string) (*os.File, error) {
	if o.ReadOnly {
		return sys.OpenAtReadOnly
	}
	return sys.OpenAt
}

// reopen returns another description of the heap's file with the same rights.
func (h *Heap) reopen() (*os.File, error) {
	if h.readOnly {
		return sys.ReopenReadOnly(h.file)
	}
	return sys.Reopen(h.file)
}

// enlist says that a reader is there, which has no slot: readers share the lock of one byte. Who wants the heap to
// itself has it alone, for longer than a moment only in Alone.
func (h *Heap) enlist() error {
	for range 100 {
		got, err := h.locks().tryShared(lockReader)
		if named := h.path == "" || hasName(h.file); !named {
			return fmt.Errorf("%w: removed meanwhile", ErrNotExist)
		}
		if err != nil {
			return err
		}
		if got {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%w: another process has it to itself", ErrBusy)
}
