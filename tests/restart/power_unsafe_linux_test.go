package restart

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// size of the region.
const size = 64 << 20

// TestPower: behind Sync nothing of the heap is in memory alone. The kernel is asked to forget the file's pages: it
// forgets those that are on the disk, and only those. What is read then comes from the disk.
func TestPower(t *testing.T) {
	path := filepath.Join(diskDir(t), "power.heap")
	h, err := heap.Create("power", &heap.Options{Path: path, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alloc.Open(h)
	if err != nil {
		t.Fatal(err)
	}
	s, err := alloc.MakeSlice[uint64](a, 1<<17, 1<<17)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Slice() {
		s.Slice()[i] = uint64(i) * 7
	}
	off, _ := h.Memory().Offset(unsafe.Pointer(unsafe.SliceData(s.Slice())))
	if err := h.StoreRoot(heap.Root{Name: "words", Offset: off}); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	before := kept(t, path)
	if h, err = heap.Open(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil { // stores that the peer is gone, behind Sync
		t.Fatal(err)
	}
	behind := kept(t, path)
	t.Logf("note: %d pages were in memory alone without Sync, and %d behind it", before, behind)
	if behind > 16 {
		t.Errorf("%d pages are in memory alone behind Sync, want those with the peer", behind)
	}
	wantWords(t, path)
}

// diskDir returns a directory on a disk, or skips the test.
func diskDir(t *testing.T) string {
	t.Helper()
	const tmpfs = 0x01021994
	dir := t.TempDir()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == tmpfs {
		shmtest.SkipAnywhere(t, "the temporary directory is in memory")
	}
	return dir
}

// kept makes the kernel forget those pages of a file that are on the disk and returns how many are left.
func kept(t *testing.T, path string) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(m)
	pages := make([]byte, size/os.Getpagesize())
	if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), size, uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

func wantWords(t *testing.T, path string) {
	t.Helper()
	h, err := heap.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	r, err := h.LoadRoot("words")
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(1 << 17) {
		if got := h.Memory().Word(r.Offset + 8*i).Load(); got != 7*i {
			t.Fatalf("word %d is %d", i, got)
		}
	}
	if err := h.Check().Err(); err != nil {
		t.Error(err)
	}
}
