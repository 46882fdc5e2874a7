package sys

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// Mapping is one mapping of a process, as /proc/PID/maps shows it.
type Mapping struct {
	Start, End uint64 // addresses, half-open
	Perms      string // four letters: r, w and x or a dash each, then p for private or s for shared
	Offset     uint64 // of Start in the file, in bytes
	Inode      uint64 // of the file, 0 where there is none
	Path       string // of the file, or a name in brackets, or empty for anonymous memory
}

// maxLine is longer than any line of maps: a path has at most 4096 bytes, each escaped to at most 4.
const maxLine = 64 << 10

// scanMappings calls visit for each line of a file in the format of /proc/PID/maps and stops at the
// first error. It makes next to no garbage, so that a process that has run out of mappings, whose Go
// heap cannot grow then, survives reading why.
func scanMappings(r io.Reader, visit func(Mapping) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	var m Mapping
	for lines.Scan() {
		if err := m.parse(lines.Bytes()); err != nil {
			return err
		}
		if err := visit(m); err != nil {
			return err
		}
	}
	return lines.Err()
}

// parse reads "start-end perms offset device inode path" (man 5 proc_pid_maps) into m, whose strings it
// keeps where they are the same. The path stays as the kernel wrote it: with spaces, with " (deleted)",
// and with newlines as \012.
func (m *Mapping) parse(line []byte) error {
	span, rest := nextField(line)
	perms, rest := nextField(rest)
	offset, rest := nextField(rest)
	_, rest = nextField(rest)
	inode, path := nextField(rest)

	start, end, _ := bytes.Cut(span, []byte("-"))
	var err error
	for _, number := range []struct {
		to   *uint64
		text []byte
		base int
	}{{&m.Start, start, 16}, {&m.End, end, 16}, {&m.Offset, offset, 16}, {&m.Inode, inode, 10}} {
		if *number.to, err = strconv.ParseUint(string(number.text), number.base, 64); err != nil {
			return fmt.Errorf("mapping %q: %w", line, err)
		}
	}
	if m.Start >= m.End || len(perms) != 4 {
		return fmt.Errorf("mapping %q: bad range or permissions", line)
	}
	m.Perms = reuse(m.Perms, perms)
	m.Path = reuse(m.Path, bytes.TrimLeft(path, " "))
	return nil
}

func nextField(s []byte) (field, rest []byte) {
	field, rest, _ = bytes.Cut(bytes.TrimLeft(s, " "), []byte(" "))
	return field, rest
}

// reuse returns text as a string: old if they are equal.
func reuse(old string, text []byte) string {
	if old == string(text) {
		return old
	}
	return string(text)
}
