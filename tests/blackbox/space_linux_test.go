package blackbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

func init() { programs["filler"] = runFiller }

// sizes are allocated until nothing fits, the largest first.
var sizes = []int{1 << 20, 100 << 10, 30 << 10, 5000, 1000, 100, 10}

// filled is what a filler has allocated.
type filled struct {
	blocks []alloc.Slice[byte]
	bytes  uint64
}

// fillUp allocates until even the smallest block does not fit, and writes to every byte.
func fillUp(a *alloc.Allocator) (f filled, err error) {
	for _, size := range sizes {
		for {
			block, err := alloc.MakeSlice[byte](a, size, size)
			if errors.Is(err, alloc.ErrNoSpace) {
				break
			}
			if err != nil {
				return f, err
			}
			for i := range block.Slice() {
				block.Slice()[i] = byte(len(f.blocks))
			}
			f.blocks, f.bytes = append(f.blocks, block), f.bytes+uint64(size)
		}
	}
	return f, nil
}

// empty looks whether all bytes are still there, and frees the blocks.
func (f *filled) empty(a *alloc.Allocator) error {
	for i, block := range f.blocks {
		for j, b := range block.Slice() {
			if b != byte(i) {
				return fmt.Errorf("block %d of %d bytes: byte %d is %d", i, block.Len(), j, b)
			}
		}
		if err := block.Free(a); err != nil {
			return err
		}
	}
	return nil
}

// runFiller fills the file system of the heap and empties it again, in rounds that it hears of.
func runFiller() error {
	b, err := attach()
	if err != nil {
		return err
	}
	for shmtest.Listen() == "fill" {
		f, err := fillUp(b.alloc)
		if err != nil {
			return err
		}
		fmt.Println(f.bytes, len(f.blocks))
		shmtest.Listen()
		if err := f.empty(b.alloc); err != nil {
			return err
		}
		stats, err := b.alloc.Stats()
		if err != nil || stats.Live != 0 {
			return fmt.Errorf("blocks left: %+v, %w", stats, err)
		}
		fmt.Println("empty")
	}
	return errors.Join(b.alloc.Check().Err(), b.Close())
}

// TestFullTmpfs: on a file system that is full, allocating fails with an error and nothing else, and
// freeing makes room again.
func TestFullTmpfs(t *testing.T) {
	const total = 48 << 20
	dir := mountTmpfs(t, total)
	options := &heap.Options{Dir: filepath.Join(dir, "heaps"), Size: 1 << 30}
	h, err := heap.Create(heapName, options)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p := shmtest.Start(t, "filler", options.Dir)
	var first, again, blocks uint64
	if fmt.Sscan(p.Ask("fill"), &first, &blocks); first < total*8/10 {
		t.Errorf("%d bytes in %d blocks fit in %d", first, blocks, total)
	}
	wantNoHeap(t, options)
	p.Tell("empty")
	p.Want("empty")
	if fmt.Sscan(p.Ask("fill"), &again, &blocks); again < first*9/10 {
		t.Errorf("%d bytes fit at first, %d after they were freed", first, again)
	}
	p.Tell("empty")
	p.Want("empty")
	p.Tell("close")
	p.Succeed()
	t.Logf("%d bytes fit, and %d afterwards", first, again)

	rest := filepath.Join(dir, "rest")
	fillDisk(t, rest)
	wantNoHeap(t, options)
	if err := os.Remove(rest); err != nil {
		t.Fatal(err)
	}
}

// wantNoHeap: there is no room for a heap, and no trace of the attempt.
func wantNoHeap(t *testing.T, options *heap.Options) {
	t.Helper()
	if _, err := heap.Create("another", options); !errors.Is(err, heap.ErrNoSpace) {
		t.Errorf("create on a full file system: %v", err)
	}
	entries, err := os.ReadDir(options.Dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// fillDisk makes a file that takes what room there is.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
}

// mountTmpfs mounts a small tmpfs and returns its mount point.
func mountTmpfs(t *testing.T, bytes int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		shmtest.Skip(t, "mounting needs root", "run the tests as root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "none", dir).CombinedOutput(); err != nil {
		shmtest.Skip(t, fmt.Sprintf("mount: %s", out), "run the tests where file systems can be mounted")
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}
