package sys

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// AddressLimitOf is AddressLimit for another process.
func AddressLimitOf(pid int) (uint64, error) {
	text, err := os.ReadFile(procPath(pid, "limits"))
	if err != nil {
		return 0, err
	}
	return parseAddressLimit(string(text))
}

// parseAddressLimit reads the soft limit from /proc/PID/limits: columns of words, soft before hard.
func parseAddressLimit(text string) (uint64, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Max address space")
		fields := strings.Fields(rest)
		switch {
		case !ok || len(fields) == 0:
		case fields[0] == "unlimited":
			return math.MaxUint64, nil
		default:
			return strconv.ParseUint(fields[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("limits %q: no address space", text)
}

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
