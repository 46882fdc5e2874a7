package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// examinations are all that doctor looks at, in the order in which it says so.
var examinations = slices.Concat([]func(*app) factJSON{
	examineSystem, examineHeap, examineReservation, examineAddressLimit, examineMapCount, examineLocks, examineWaiting,
}, systemExaminations)

func examineSystem(*app) factJSON {
	const meaning = "Heaps are for 64-bit little-endian systems; Linux and macOS have all that they need."
	value := fmt.Sprintf("%s/%s, pages of %s", runtime.GOOS, runtime.GOARCH, size(sys.PageSize()))
	known := runtime.GOOS == "linux" || runtime.GOOS == "darwin"
	return either(known, "system", value, value, meaning, bad, "use Linux or macOS")
}

// examineHeap makes a heap and removes it: the proof that all parts work together.
func examineHeap(a *app) factJSON {
	const name, meaning = "a heap can be made", "One was made in the private directory, filled a little and removed again."
	o := a.options()
	o.Size, o.Kernel = 16<<20, nil
	test := fmt.Sprintf("doctor-%d", os.Getpid())
	h, err := heap.Create(test, o)
	if err != nil {
		return bad(name, err.Error(), "Nothing works before this does.", remedyFor(err))
	}
	path := h.Path()
	_, err = makeReady(h)
	if err = errors.Join(err, heap.Remove(test, o)); err != nil {
		return bad(name, err.Error(), "Nothing works before this does.", remedyFor(err))
	}
	return good(name, "in "+filepath.Dir(path), meaning)
}

// remedyFor is the hint that a command would print with the error.
func remedyFor(err error) string {
	for _, h := range hints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return "see README.md for what is supported"
}

func examineReservation(*app) factJSON {
	const name, meaning = "MAP_FIXED_NOREPLACE", "An address is reserved in one step, and never by replacing what is there. Without it a hint does the same, a little slower."
	return either(sys.HasNoReplace, name, "used", "not there", meaning, noted, "use Linux 4.19 or later; it works as it is")
}

func examineAddressLimit(*app) factJSON {
	const name = "address space (RLIMIT_AS)"
	const meaning = "A heap takes as much address space as its maximum size, however little memory it uses."
	limit, err := sys.AddressLimit()
	switch {
	case err != nil:
		return noted(name, err.Error(), meaning, "")
	case limit == math.MaxUint64:
		return good(name, "unlimited", meaning)
	case limit < 4<<30:
		return bad(name, size(limit), meaning+" A Go program takes about 1 GiB of it.", "ulimit -v unlimited; in systemd: LimitAS=infinity")
	}
	return noted(name, size(limit), meaning, "ulimit -v unlimited; in systemd: LimitAS=infinity")
}

func examineMapCount(*app) factJSON {
	const name, meaning = "mappings of a process", "A heap is one mapping, with one more for each guard; the limit is for everything that the program maps."
	limit, err := sys.MapCountLimit()
	switch {
	case err != nil:
		return noted(name, err.Error(), meaning, "")
	case limit == math.MaxUint64:
		return good(name, "unlimited", meaning)
	}
	value := number(limit) + " (vm.max_map_count)"
	return either(limit >= 1000, name, value, value, meaning, bad, "sysctl -w vm.max_map_count=65530")
}

// examineLocks tries the locks that tell who is alive, between two descriptions of one file.
func examineLocks(*app) factJSON {
	const name = "locks of a file description"
	const meaning = "They tell who is alive: the kernel drops them when a process ends. Without them nothing works."
	held, err := tryLocks()
	if err != nil {
		return bad(name, err.Error(), meaning, "use a kernel with open file description locks: Linux 3.15 or later")
	}
	return either(held, name, "work", "a lock is not seen by others", meaning, bad, "keep heaps on a local file system, with --dir")
}

func tryLocks() (held bool, err error) {
	f, err := os.CreateTemp("", "shmheap-doctor")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	other, err := os.OpenFile(f.Name(), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer other.Close()
	got, err := sys.TryLock(f, 1<<62)
	if err != nil || !got {
		return false, err
	}
	return sys.Locked(other, 1<<62, 1)
}

func examineWaiting(*app) factJSON {
	const name, meaning = "waiting", "Queues and locks sleep on a word that processes share. Without that they look again and again, with naps between."
	return either(sys.WaitMethod != "polled", name, sys.WaitMethod, "polled", meaning, noted, "use Linux or macOS")
}

// examineWindows says where a heap fits.
func examineWindows(*app) factJSON {
	const name, meaning = "addresses", "Ranges that runtimes, sanitizers and the kernel leave free, and where a heap is made unless --base says otherwise."
	var free []string
	for _, w := range probe.Windows() {
		free = append(free, w.Name)
	}
	return either(len(free) > 0, name, fmt.Sprintf("%d windows: %s", len(free), strings.Join(free, ", ")), "no window", meaning, noted, "choose a base yourself: shmheap init NAME --base ADDR")
}
