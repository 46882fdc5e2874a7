//go:build crashpoint

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/shmheap/shmheap/internal/sys"
)

// Enabled says whether points can be armed in this build.
const Enabled = true

var (
	armed, skip = parse(os.Getenv(Env))
	passed      atomic.Int64
)

// Hit kills the process if p is the armed point and it has been passed often enough.
func Hit(p Point) {
	if p == armed && passed.Add(1) == skip {
		sys.KillSelf()
	}
}

func parse(s string) (Point, int64) {
	name, count, found := strings.Cut(s, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !found || err != nil {
		n = 1
	}
	return Point(name), n
}
