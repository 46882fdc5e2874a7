package slab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// ErrNoCache: the kernel has no cache of that name, or none of its own: caches that are alike may be merged.
var ErrNoCache = errors.New("no such cache")

// Info is what the kernel says of a cache.
type Info struct {
	Active         uint64 // objects in use; those that a processor keeps at hand count too
	Objects        uint64 // that there is room for
	ObjectSize     uint64 // bytes that one takes, with what the kernel adds
	ObjectsPerSlab uint64 // that a slab has room for
	PagesPerSlab   uint64 // of memory
	Slabs          uint64 // in use
}

// ReadInfo reads what the kernel says of a cache, in /proc/slabinfo. It returns ErrNoCache, and ErrPermission for
// others than root.
func ReadInfo(name string) (Info, error) {
	f, err := os.Open("/proc/slabinfo")
	if errors.Is(err, fs.ErrPermission) {
		return Info{}, fmt.Errorf("%w: %w", ErrPermission, err)
	}
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return parseInfo(f, name)
}

// parseInfo finds a line of slabinfo (man 5 slabinfo):
//
//	name active objects size per-slab pages : tunables 0 0 0 : slabdata active-slabs slabs shared
func parseInfo(r io.Reader, name string) (i Info, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+" ")
		if !ok {
			continue
		}
		var active uint64
		_, data, _ := strings.Cut(rest, "slabdata")
		_, err := fmt.Sscan(rest, &i.Active, &i.Objects, &i.ObjectSize, &i.ObjectsPerSlab, &i.PagesPerSlab)
		if err == nil {
			_, err = fmt.Sscan(strings.TrimLeft(data, " :"), &active, &i.Slabs)
		}
		if err != nil {
			return Info{}, fmt.Errorf("line %q of slabinfo: %w", lines.Text(), err)
		}
		return i, nil
	}
	if err := lines.Err(); err != nil {
		return Info{}, err
	}
	return Info{}, fmt.Errorf("%w: %s", ErrNoCache, name)
}
