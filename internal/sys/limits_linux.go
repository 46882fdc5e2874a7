package sys

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// MapCountLimit returns how many mappings a process may have (sysctl vm.max_map_count), or
// math.MaxUint64 where there is no limit.
func MapCountLimit() (uint64, error) {
	const path = "/proc/sys/vm/max_map_count"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}
