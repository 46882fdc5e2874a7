package inside

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod"
)

// victim works with a heap and the kernel as programs do, until it is killed: DIR NAME SEED.
func victim() error {
	d, err := kmod.Open()
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Args[3], 10, 64)
	if err != nil {
		return err
	}
	h, err := heap.Open(os.Args[2], &heap.Options{Dir: os.Args[1], Kernel: d.Kernel(nil)})
	if err != nil {
		return err
	}
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	ch, err := kmod.Of(h).Channel(a, 0, nil)
	if err != nil {
		return err
	}
	replies, err := ch.Replies()
	if err != nil {
		return err
	}
	fmt.Println("begin")
	return suffer(h, c, replies, rand.New(rand.NewPCG(seed, 1)))
}

func suffer(h *heap.Heap, c *alloc.Cache, replies *kmod.Sender, random *rand.Rand) error {
	first := h.Geometry().Sections.Data
	for {
		p, err := c.Alloc(16 + random.Uint64N(4000))
		if err != nil {
			return err
		}
		if err := replies.Send(context.Background(), first+8*random.Uint64N(1000)); err != nil {
			return err
		}
		if err := c.Free(p); err != nil {
			return err
		}
	}
}

// TestStorm kills programs that work with a heap and the kernel. The heap must be sound, and all its blocks free,
// and the kernel must have got rid of what they had.
func TestStorm(t *testing.T) {
	d := device(t)
	seed := number(t, "KMOD_SEED", rand.Uint64()>>1)
	t.Logf("note: KMOD_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	dir, name := filepath.Join(t.TempDir(), "heaps"), newName()
	h, err := heap.Create(name, &heap.Options{Size: heapSize, Dir: dir, Kernel: d.Kernel(nil), MaxPeers: 64, MaxCaches: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	commands := must[*kmod.Receiver](t)(must[*kmod.Channel](t)(kmod.Of(h).Channel(a, 0, nil)).Commands())
	defer closeAll(t, commands)
	partner(t, name)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	received, over := 0, make(chan error, 1)
	go func() {
		for {
			if _, err := commands.Receive(ctx); err != nil {
				over <- err
				return
			}
			received++
		}
	}()
	kills := int(number(t, "KMOD_KILLS", 12))
	for range kills {
		v := shmtest.Start(t, "victim", dir, name, strconv.FormatUint(random.Uint64(), 10))
		v.Want("begin")
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		v.Kill()
	}
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must[alloc.Recovered](t)(a.Recover())
	if r := a.Check(); r.Err() != nil {
		t.Error(r.Problems)
	}
	t.Logf("note: %d programs killed, %d elements came back", kills, received)
	if received == 0 {
		t.Error("nothing came back")
	}
	eventually(t, "this process is the only peer", func() bool { return must[kmod.Stat](t)(kmod.Of(h).Stat()).Peers == 1 })
}
