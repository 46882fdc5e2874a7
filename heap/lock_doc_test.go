package heap

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/layout"
)

// TestFormatLocks: doc/format.md has each byte that may be locked, by which other programs keep out of the way.
func TestFormatLocks(t *testing.T) {
	doc, err := os.ReadFile("../doc/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, lock := range []int64{lockRoots, lockGrowth, lockCreate, lockAlone, lockReader} {
		if row := fmt.Sprintf("\n| 2^62 + %d | ", lock-(1<<62)); !strings.Contains(string(doc), row) {
			t.Errorf("no row %q", row)
		}
	}
	if lockPeers != 1<<62 || layout.MaxPeers != 65536 {
		t.Errorf("slots are locked from %#x on, %d of them", int64(lockPeers), layout.MaxPeers)
	}
}
