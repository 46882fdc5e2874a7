package sys

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// RandomBits returns how many bits of a page number the kernel draws at random for a process: for its
// mappings, its stack and the place of a position-independent program (sysctl vm.mmap_rnd_bits).
func RandomBits() (int, error) {
	const path = "/proc/sys/vm/mmap_rnd_bits"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 || n > 63 {
		return 0, fmt.Errorf("read %s: %q is no number of bits", path, text)
	}
	return n, nil
}
