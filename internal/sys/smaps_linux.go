package sys

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// EachArea calls visit for every mapping of this process, ascending, and stops at the first error.
func EachArea(visit func(Area) error) error {
	f, err := os.Open("/proc/self/smaps")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return scanAreas(f, visit)
}

// scanAreas reads the format of /proc/PID/smaps: for each mapping its line of maps, then lines of
// "Name: value", of which VmFlags is the last.
func scanAreas(r io.Reader, visit func(Area) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	var a Area
	open := false
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), ":")
		if found && !strings.Contains(name, " ") {
			if name == "VmFlags" {
				a.Flags = strings.Fields(value)
			}
			continue
		}
		if open {
			if err := visit(a); err != nil {
				return err
			}
		}
		a, open = Area{}, true
		if err := a.parse(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil || !open {
		return err
	}
	return visit(a)
}
