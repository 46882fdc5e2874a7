package ivshmem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/mem"
	"github.com/shmheap/shmheap/queue"
)

// runFar is the other machine's part, in the guest. It ends with the machine.
func runFar() error {
	a, b, err := attach()
	if err != nil {
		return err
	}
	if err := b.contend(a.Heap(), a); err != nil {
		return err
	}
	return b.dieHolding(a.Heap(), a)
}

// attach opens the heap in the memory of a guest's device.
func attach() (*alloc.Allocator, *board, error) {
	f, err := openDevice()
	if err != nil {
		return nil, nil, err
	}
	h, err := heap.OpenShared(f)
	if err != nil {
		return nil, nil, err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return nil, nil, err
	}
	b, err := loadBoard(a)
	if err == nil {
		fmt.Printf("the heap lies at %#x here, this is peer %v\n", h.Base(), h.Peer())
	}
	return a, b, err
}

// contend is the time while both machines work. This one sends messages.
func (b *board) contend(h *heap.Heap, a *alloc.Allocator) error {
	q, err := queue.Open(a, "queue", nil)
	if err != nil {
		return err
	}
	p, err := q.Producer()
	if err != nil {
		return err
	}
	b.stage.Swap(farAttached)
	if err := b.await(nearReady); err != nil {
		return err
	}
	return b.work(h, a, far, func(value uint64) error {
		m, err := newMessage(a, value)
		if err != nil {
			return err
		}
		off, _ := mem.OffsetOf(h.Memory(), m)
		return p.Push(context.Background(), off)
	})
}

func newMessage(a *alloc.Allocator, value uint64) (*message, error) {
	m, err := alloc.New[message](a)
	if err != nil {
		return nil, err
	}
	m.value = value
	m.text, err = alloc.MakeString(a, names[far])
	return m, err
}

func (m *message) delete(a *alloc.Allocator) error {
	return errors.Join(m.text.Free(a), alloc.Delete(a, m))
}

// holds is what this machine says when it may be switched off.
const holds = "this machine has the mutex"

// dieHolding walks the list, and then goes on to allocate and to free, with the mutex, until the machine is switched off.
func (b *board) dieHolding(h *heap.Heap, a *alloc.Allocator) error {
	if err := b.await(nearDone); err != nil {
		return err
	}
	if err := b.mutex.Lock(context.Background(), h); err != nil {
		return err
	}
	if err := b.walk(); err != nil {
		return err
	}
	b.stage.Swap(farHolds)
	fmt.Println(holds)
	for i := uint64(0); ; i++ {
		m, err := newMessage(a, i)
		if err == nil {
			err = m.delete(a)
		}
		if err != nil {
			return err
		}
	}
}

// openDevice finds the device of the memory and switches it on. Its memory is the one of its regions that is large.
func openDevice() (*os.File, error) {
	const vendor, device = "0x1af4", "0x1110"
	devices, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil {
		return nil, err
	}
	for _, dir := range devices {
		if line(dir, "vendor") != vendor || line(dir, "device") != device {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "enable"), []byte("1"), 0); err != nil {
			return nil, err
		}
		return os.OpenFile(filepath.Join(dir, "resource2"), os.O_RDWR, 0)
	}
	return nil, fmt.Errorf("no device %s:%s among %q: %w", vendor, device, devices, os.ErrNotExist)
}

func line(dir, name string) string {
	text, _ := os.ReadFile(filepath.Join(dir, name)) // nothing is as good as another device
	return strings.TrimSpace(string(text))
}
