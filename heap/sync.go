package heap

import (
	"fmt"

	"github.com/shmheap/shmheap/internal/sys"
)

// Sync returns when everything that was stored in the heap before the call is on the disk, for a heap whose file
// is on one; on tmpfs it does nothing. It costs what has changed since the last time.
//
// A heap needs it for one thing alone, that the machine loses power. Processes that end, or are killed, leave
// what they stored to the kernel, which writes it out in its own time. The kernel also writes pages at any time and in any
// order, so what is on the disk after a power failure is the heap as it was at the last Sync only if nobody
// has changed it since; else Check may find it damaged. So: let everybody be at rest, as Alone proves, and call it
// then; or Close, and call it from the process that is last.
func (h *Heap) Sync() error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.leave()
	err := sys.SyncMemory(h.memory.Bytes(0, h.memory.Size()))
	if err == nil {
		err = h.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("sync heap %q: %w", h.geometry.name, wrapOS(err))
	}
	return nil
}
