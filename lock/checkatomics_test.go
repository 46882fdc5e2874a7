package lock

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

func TestCheckAtomics(t *testing.T) {
	want(t, "no memory", CheckAtomics(nil), ErrUnknown)
	if runtime.GOOS != "linux" {
		want(t, "on a system that does not tell", CheckAtomics(make([]byte, 64)), ErrUnknown)
		return
	}
	want(t, "Go memory", CheckAtomics(make([]byte, 1<<20)), nil)
}

func TestClassify(t *testing.T) {
	area := func(path string, flags ...string) sys.Area {
		return sys.Area{Mapping: sys.Mapping{Start: 0x1000, End: 0x2000, Path: path}, Flags: flags}
	}
	for _, c := range []struct {
		area sys.Area
		want error
	}{
		{area("/dev/shm/heap", "rd", "wr", "sh"), nil},
		{area("", "rd", "wr", "ac"), nil},
		{area("/dev/char", "rd", "wr", "mm"), nil},
		{area("/dev/card", "rd", "wr", "pf", "dd"), ErrNotCacheable},
		{area("/dev/card", "rd", "wr", "io"), ErrNotCacheable},
		{area("/sys/devices/pci0000:00/0000:00:04.0/resource0", "rd", "wr"), ErrNotCacheable},
		{area("/sys/devices/pci0000:00/0000:00:04.0/resource2_wc", "rd"), ErrNotCacheable},
		{area("/dev/mem", "rd", "wr"), ErrNotCacheable},
		{area("/dev/uio0", "rd", "wr"), ErrNotCacheable},
		{area("/dev/vfio/7", "rd", "wr"), ErrNotCacheable},
		{area("/dev/shm/heap"), ErrUnknown},
	} {
		want(t, c.area.Path, classify(c.area), c.want)
	}
}

// TestCheckAtomicsOfADevice asks about a real PCI resource where there is one to map.
func TestCheckAtomicsOfADevice(t *testing.T) {
	paths, _ := filepath.Glob("/sys/bus/pci/devices/*/resource[0-5]")
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		memory, unmap, err := sys.MapDevice(f, 4096)
		f.Close()
		if err != nil {
			continue
		}
		want(t, path, CheckAtomics(memory), ErrNotCacheable)
		if err := unmap(); err != nil {
			t.Error(err)
		}
		return
	}
	shmtest.SkipAnywhere(t, "no PCI resource that can be mapped")
}
