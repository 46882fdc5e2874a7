package arena

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod/bpf"
)

// TestMain leaves the example out where there can be no arenas: tests/kernel says where there must be.
func TestMain(m *testing.M) {
	flag.Parse()
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: New(nil)})
	if errors.Is(err, bpf.ErrUnsupported) {
		fmt.Println("note: no example:", err)
		_ = flag.Set("test.skip", "^Example")
	} else if err == nil {
		h.Close()
	}
	os.Exit(m.Run())
}
