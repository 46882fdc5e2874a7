package inside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest/conform"
	"github.com/shmheap/shmheap/kmod"
)

func TestInfo(t *testing.T) {
	d := device(t)
	info := must[kmod.Info](t)(d.Info())
	if info.Version != kmod.Version || info.PageSize != uint32(os.Getpagesize()) || info.Granule != 65536 || info.MaxChannels != kmod.MaxChannels {
		t.Errorf("%+v", info)
	}
	all := kmod.FeatureRegion | kmod.FeatureQueues | kmod.FeatureControl | kmod.FeatureStream | kmod.FeatureCopies | kmod.FeaturePunch
	if info.Features&all != all {
		t.Errorf("features %b", info.Features)
	}
}

func TestNames(t *testing.T) {
	d := device(t)
	name := newName()
	i := must[*kmod.Instance](t)(d.Create(name, nil))
	if _, err := d.Create(name, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	again := must[*kmod.Instance](t)(d.Open(name))
	st := must[kmod.Stat](t)(again.Stat())
	if st.ID != i.ID() || st.Name != name || st.Peers != 2 || st.Unlinked {
		t.Errorf("%+v", st)
	}
	if err := i.Unlink(); err != nil {
		t.Fatal(err)
	}
	if err := again.Unlink(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unlink twice: %v", err)
	}
	if _, err := d.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open without a name: %v", err)
	}
	for _, i := range []*kmod.Instance{i, again} {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "a/b", strings.Repeat("x", 64), "a b", "a\n"} {
		if _, err := d.Create(bad, nil); !errors.Is(err, kmod.ErrOptions) {
			t.Errorf("name %q: %v", bad, err)
		}
	}
}

// TestGone: an instance goes with its last descriptor.
func TestGone(t *testing.T) {
	d := device(t)
	before := must[kmod.Info](t)(d.Info())
	name := newName()
	i := must[*kmod.Instance](t)(d.Create(name, &kmod.InstanceOptions{StreamOrder: 4}))
	if got := must[kmod.Info](t)(d.Info()); got.Instances != before.Instances+1 {
		t.Errorf("%d instances, before %d", got.Instances, before.Instances)
	}
	i.Close()
	eventually(t, "the instance is gone", func() bool {
		_, err := d.Open(name)
		return errors.Is(err, fs.ErrNotExist)
	})
	eventually(t, "its memory is back", func() bool {
		got := must[kmod.Info](t)(d.Info())
		return got.Instances == before.Instances && got.Used == before.Used
	})
}

func TestAdopt(t *testing.T) {
	d := device(t)
	i := must[*kmod.Instance](t)(d.Create(newName(), nil))
	defer i.Close()
	f := must[*os.File](t)(i.File())
	defer f.Close()
	other := must[*kmod.Instance](t)(kmod.Adopt(f))
	defer other.Close()
	if other.ID() != i.ID() || other.Name() != i.Name() {
		t.Errorf("instance %d %q", other.ID(), other.Name())
	}
	if _, err := kmod.Adopt(os.Stdout); err == nil {
		t.Error("adopts what is no instance")
	}
}

func TestDeparted(t *testing.T) {
	d := device(t)
	i := must[*kmod.Instance](t)(d.Create(newName(), nil))
	defer i.Close()
	other := must[*kmod.Instance](t)(d.Open(i.Name()))
	st := must[kmod.Stat](t)(i.Stat())
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := i.Departed(short, st.Released); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody has gone: %v", err)
	}
	go func() {
		time.Sleep(10 * time.Millisecond)
		other.Close()
	}()
	released, peers, err := i.Departed(patient(t), st.Released)
	if err != nil || released != st.Released+1 || peers != 1 {
		t.Errorf("%d released, %d peers, %v", released, peers, err)
	}
}

// TestHeap: a heap in the module's memory is an ordinary one.
func TestHeap(t *testing.T) {
	d := device(t)
	before := must[kmod.Info](t)(d.Info())
	dir := filepath.Join(t.TempDir(), "heaps")
	o := &heap.Options{Size: heapSize, Dir: dir, Kernel: d.Kernel(nil)}
	name := newName()
	h, err := heap.Create(name, o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	c := must[*alloc.Cache](t)(a.NewCache())
	for n := range 2000 {
		p, err := c.Alloc(uint64(16 + n))
		if err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			if err := c.Free(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r := a.Check(); r.Err() != nil {
		t.Error(r.Problems)
	}
	if st := must[kmod.Stat](t)(kmod.Of(h).Stat()); st.Stored == 0 || st.Stored > h.Size() || st.Base != h.Base() || st.Bytes != h.Size() {
		t.Errorf("%+v", st)
	}
	for _, close := range []func() error{c.Close, a.Close, h.Close} {
		if err := close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := heap.Open(name, &heap.Options{Dir: dir}); !errors.Is(err, heap.ErrKernel) {
		t.Errorf("open without the kernel: %v", err)
	}
	if _, err := heap.Open(name, o); !errors.Is(err, heap.ErrKernelGone) {
		t.Errorf("open after the last: %v", err)
	}
	if err := heap.Remove(name, o); err != nil {
		t.Errorf("remove: %v", err)
	}
	eventually(t, "its memory is back", func() bool { return must[kmod.Info](t)(d.Info()).Used == before.Used })
}

// TestTablesAreCharged: what finds granules is paid for like these, or a quota would be none.
func TestTablesAreCharged(t *testing.T) {
	const (
		region = 1 << 40
		leaf   = 512 * 65536 // what a table is for
		tables = 1000
	)
	d := device(t)
	before := must[kmod.Info](t)(d.Info())
	i := must[*kmod.Instance](t)(d.Create(newName(), &kmod.InstanceOptions{Base: 0x5600_0000_0000, Bytes: region}))
	f := must[*os.File](t)(i.File())
	for n := range int64(tables) {
		for _, mode := range []uint32{0, punchHole} {
			if err := syscall.Fallocate(int(f.Fd()), mode, n*leaf, 65536); err != nil {
				t.Fatalf("table %d, mode %d: %v", n, mode, err)
			}
		}
	}
	eventually(t, "tables alone are left", func() bool {
		return must[kmod.Info](t)(d.Info()).Used == before.Used+tables*4096
	})
	closeAll(t, i, f)
	eventually(t, "they are gone too", func() bool { return must[kmod.Info](t)(d.Info()).Used == before.Used })
}

// punchHole is FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE.
const punchHole = 3

// TestReadOnly: a descriptor that is not for writing changes nothing of the instance, its queues and its messages.
func TestReadOnly(t *testing.T) {
	h, _, i := newHeap(t, device(t), &kmod.InstanceOptions{Mode: 0o644, StreamOrder: 4})
	f := must[*os.File](t)(i.File())
	defer f.Close()
	reader := must[*os.File](t)(os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd())))
	defer reader.Close()
	r := must[*kmod.Instance](t)(kmod.Adopt(reader))
	defer r.Close()
	must[*kmod.Copies](t)(i.MakeCopies(2, nil))
	ctx := patient(t)
	_, copies := r.MakeCopies(3, nil)
	_, receive := r.Copies(2).Receive(ctx, nil)
	attach := make([]byte, 32)
	put32(attach, 32)
	put64(attach[8:], h.Geometry().Sections.Data)
	for what, err := range map[string]error{
		"UNLINK": r.Unlink(), "COPIES": copies, "SEND": r.Copies(2).Send(ctx, kmod.Message{}), "RECV": receive,
		"QUEUE": ioctl(int(reader.Fd()), 0xc020b713, attach), "fallocate": syscall.Fallocate(int(reader.Fd()), 0, 0, 65536),
	} {
		if !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := mmap(0, uintptr(os.Getpagesize()), syscall.PROT_READ, syscall.MAP_SHARED, int(reader.Fd()), 1<<56)
	if !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("control words: %v", err)
	}
	closeAll(t, must[*kmod.Stream](t)(r.Stream(nil)))
	if _, err := reader.ReadAt(make([]byte, 8), 0); err != nil {
		t.Error(err)
	}
	writer := must[*os.File](t)(os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0))
	defer writer.Close()
	w := must[*kmod.Instance](t)(kmod.Adopt(writer))
	defer w.Close()
	if _, err := w.Stream(nil); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a stream of what is for writing alone: %v", err)
	}
}

// TestConform: such a heap is a heap, to all packages and to processes that are killed.
func TestConform(t *testing.T) {
	device(t)
	conform.Run(t, inModule)
}

// TestQuotaParameter: a quota beyond all bytes is one of all bytes, and not none.
func TestQuotaParameter(t *testing.T) {
	const path = "/sys/module/shmheap/parameters/quota_mb"
	d := device(t)
	before := must[[]byte](t)(os.ReadFile(path))
	defer func() {
		if err := os.WriteFile(path, before, 0); err != nil {
			t.Error(err)
		}
	}()
	for text, want := range map[string]uint64{"0": 0, "3": 3 << 20, "17592186044416": 1<<64 - 1<<20, "17592186044417": 1<<64 - 1<<20} {
		if err := os.WriteFile(path, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if got := must[kmod.Info](t)(d.Info()).Quota; got != want {
			t.Errorf("%s MiB: %d, want %d", text, got, want)
		}
	}
}
