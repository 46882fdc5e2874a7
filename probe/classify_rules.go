package probe

import (
	"slices"
	"strings"
)

// rule is one line of the table by which mappings are classified: the first that applies decides.
type rule struct {
	kind      Kind
	owner     string
	placement Placement
	zone      func(*territory) zone // nil: none is known
	reason    string
	applies   func(*process, Mapping) bool
}

const (
	oneGiB      = 1 << 30
	oneTiB      = 1 << 40
	goArena     = 64 << 20   // what Go's heap, and glibc's malloc for a thread, grow by and are aligned to
	lowPrograms = 4 * oneGiB // programs that are not position-independent lie below
)

func heapZone(t *territory) zone { return t.heaps }
func pieZone(t *territory) zone  { return t.pie }
func mmapZone(t *territory) zone { return t.mmap }

// brkZone is where the heap of a program at a fixed address begins (arch_randomize_brk).
func brkZone(*territory) zone { return zone{Range{0x40_0000, oneGiB + 0x40_0000}, true} }

var rules = []rule{
	{KindStack, "", Random, mmapZone, "the kernel calls it so", named("[stack]", "[stack:")},
	{KindKernel, "", Fixed, nil, "the kernel calls it so", named("[vsyscall]")},
	{KindKernel, "", Random, mmapZone, "the kernel calls it so", named("[vdso]", "[vvar", "[sigpage]")},
	{KindBrk, "", Random, pieZone, "the kernel calls it [heap]; it follows the program", both(named("[heap]"), nearPIE)},
	{KindBrk, "", Random, brkZone, "the kernel calls it [heap]; up to 1 GiB behind the program", named("[heap]")},

	{KindSharedHeap, "", Fixed, nil, "a heap of this library, at the base that it was made with", isSharedHeap},
	{KindSanitizer, "", Fixed, nil, "in a range that the sanitizer always takes", ofSanitizer},

	{KindJavaHeap, "ZGC", Fixed, nil, "file java_heap, at 4, 8 or 16 TiB", named("/memfd:java_heap")},
	{KindJavaHeap, "ZGC", Fixed, nil, "reserved behind file java_heap, for its growth", behindZGC},
	{KindJavaHeap, "", Fixed, nil, "a JVM keeps its heap and classes below 36 GiB, to compress pointers; it depends on -Xmx", ofJava},

	{KindGoHeap, "", Random, heapZone, "the kernel shows its name", both(named("[anon: Go: heap", "[anon:Go: heap"), not(isFixedGoHeap))},
	{KindGoHeap, "", Fixed, nil, "begins at 0xc000000000, as in Go before 1.26 and with -race, -msan or -asan", isFixedGoHeap},
	{KindGoHeap, "", Random, heapZone, "arenas of 64 MiB, low in the address space", isGoHeap},
	{KindV8Heap, "", Random, heapZone, "pages of 256 KiB, low in the address space", isV8Heap},

	{KindGuard, "", Fixed, nil, "no access, beside a shared heap; gives way to another heap", isHeapGuard},
	{KindReserved, "stamped program", Fixed, nil, "a segment without access, in a window of this library", both(isReserved, isFile)},
	{KindReserved, "", Fixed, nil, "no access, in a window of this library: kept by a launcher, or a heap that is being opened", isReserved},

	{KindJIT, "", Random, pieZone, "code without a file, near the program", both(isGenerated, nearPIE)},
	{KindJIT, "", Random, mmapZone, "code without a file, where the kernel chose", both(isGenerated, inMmap)},
	{KindJIT, "", Unknown, nil, "code without a file, at a place of the program's choice", isGenerated},

	{KindProgram, "", Fixed, nil, "linked to this address", both(isProgramFile, isLow)},
	{KindPIE, "", Random, pieZone, "where the kernel loads such programs", both(isProgramFile, nearPIE)},
	{KindLibrary, "", Random, mmapZone, "a file with code, where the kernel chose", both(isProgramFile, inMmap)},
	{KindLibrary, "", Random, nil, "a file with code", isProgramFile},

	{KindShared, "", Random, mmapZone, "where the kernel chose", both(isSharedMemory, inMmap)},
	{KindShared, "", Unknown, nil, "at a place of the program's choice", isSharedMemory},
	{KindFile, "", Random, mmapZone, "where the kernel chose", both(isFile, inMmap)},
	{KindFile, "", Unknown, nil, "at a place of the program's choice", isFile},

	{KindAnonymous, "glibc malloc", Random, mmapZone, "64 MiB at a multiple of that, where the kernel chose", both(isArena, inMmap)},
	{KindAnonymous, "", Random, mmapZone, "where the kernel chose", inMmap},
	{KindSanitizer, "which one is not known", Unknown, nil, "a TiB or more without a file", isHuge},
	{KindAnonymous, "", Unknown, nil, "at a place of the program's choice", always},
}

// classify finds the first rule that applies. Memory behind the data of a program is part of it.
func (p *process) classify(m Mapping) Class {
	if file, ok := p.uninitialised(m); ok {
		c := p.classify(file)
		c.Reason = "uninitialised data of " + file.Path
		return c
	}
	r := &rules[slices.IndexFunc(rules, func(r rule) bool { return r.applies(p, m) })] // the last one always does
	c := Class{Kind: r.kind, Owner: r.owner, Placement: r.placement, Reason: r.reason}
	if r.zone != nil {
		c.zone = r.zone(&p.territory)
	}
	if r.kind == KindSanitizer && p.sanitizer != nil {
		c.Owner = p.sanitizer.owner
	}
	if p.unrandom && c.zone.together {
		c.Placement, c.Reason, c.zone = Fixed, c.Reason+"; address randomisation is off", zone{}
	}
	return c
}

// uninitialised returns the file in front of m whose uninitialised data (.bss) m is.
func (p *process) uninitialised(m Mapping) (Mapping, bool) {
	file, ok := p.before(m)
	return file, ok && m.Path == "" && m.Inode == 0 && m.Perms == "rw-p" && file.Perms == "rw-p" && isProgramFile(p, file)
}

// always is the last resort.
func always(*process, Mapping) bool { return true }

func both(a, b func(*process, Mapping) bool) func(*process, Mapping) bool {
	return func(p *process, m Mapping) bool { return a(p, m) && b(p, m) }
}

func not(a func(*process, Mapping) bool) func(*process, Mapping) bool {
	return func(p *process, m Mapping) bool { return !a(p, m) }
}

// named applies to mappings whose path begins with one of the names.
func named(names ...string) func(*process, Mapping) bool {
	return func(_ *process, m Mapping) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(m.Path, name) })
	}
}

func nearPIE(p *process, m Mapping) bool { return p.territory.nearPIE(m.Start) }
func inMmap(p *process, m Mapping) bool  { return p.territory.mmap.Contains(m.Start) }

// isSharedHeap goes by the name of the file: a memfd's, or one in a private directory.
func isSharedHeap(_ *process, m Mapping) bool {
	path := strings.TrimSuffix(m.Path, " (deleted)")
	return strings.HasSuffix(m.Perms, "s") &&
		(strings.HasPrefix(path, "/memfd:shmheap") || strings.Contains(path, "/shmheap-") || strings.HasSuffix(path, ".heap"))
}

// ofSanitizer also covers files: ThreadSanitizer maps some as its shadow.
func ofSanitizer(p *process, m Mapping) bool {
	return p.sanitizer != nil && slices.ContainsFunc(p.sanitizer.owns, func(r Range) bool { return r.Contains(m.Start) })
}

func behindZGC(p *process, m Mapping) bool {
	heap, ok := p.before(m)
	return ok && isAnonymous(m) && strings.HasPrefix(heap.Path, "/memfd:java_heap")
}

// ofJava applies to the heap, the compressed classes and the archive of classes.
func ofJava(p *process, m Mapping) bool {
	return p.java && m.End <= 36*oneGiB && (isAnonymous(m) || strings.HasSuffix(m.Path, ".jsa"))
}

func isArena(p *process, m Mapping) bool {
	run := p.run(m)
	return isAnonymous(m) && run.Start%goArena == 0 && run.End%goArena == 0
}

func isGoHeap(p *process, m Mapping) bool {
	return isArena(p, m) && !isCode(m) && p.territory.heaps.Contains(m.Start) && m.Size() < oneTiB
}

// isFixedGoHeap applies to the heap that has grown from its fixed start, in what the race detector
// allows.
func isFixedGoHeap(p *process, m Mapping) bool {
	return isAnonymous(m) && p.starts(goFixedHeap) && p.run(m).Start%goArena == 0 &&
		Range{goFixedHeap, 0xe0_0000_0000}.Contains(m.Start)
}

func isV8Heap(p *process, m Mapping) bool {
	return p.v8 && isAnonymous(m) && m.Start%v8Page == 0 && m.Start >= lowPrograms && p.territory.heaps.Contains(m.Start)
}

func isHeapGuard(p *process, m Mapping) bool {
	if !isAnonymous(m) || m.Perms != "---p" || m.Size() != Guard {
		return false
	}
	i := p.index(m.Start)
	return i > 0 && p.all[i-1].End == m.Start && isSharedHeap(p, p.all[i-1]) ||
		i+1 < len(p.all) && p.all[i+1].Start == m.End && isSharedHeap(p, p.all[i+1])
}

func isReserved(p *process, m Mapping) bool {
	return m.Perms == "---p" && m.Start%Guard == 0 && m.Size()%Guard == 0 && m.Size() < oneTiB &&
		slices.ContainsFunc(p.territory.windows, func(w Window) bool { return w.Overlaps(m.Range) })
}

func isGenerated(_ *process, m Mapping) bool { return isAnonymous(m) && isCode(m) }
func isFile(_ *process, m Mapping) bool      { return m.Inode != 0 }
func isLow(p *process, m Mapping) bool {
	return p.lowest[m.Path] < lowPrograms && m.Start < lowPrograms
}
func isHuge(_ *process, m Mapping) bool { return isAnonymous(m) && m.Size() >= oneTiB }

// isProgramFile applies to every part of a file of which one may be executed.
func isProgramFile(p *process, m Mapping) bool { return m.Inode != 0 && p.code[m.Path] }

func isSharedMemory(_ *process, m Mapping) bool {
	return strings.HasSuffix(m.Perms, "s") && (strings.HasPrefix(m.Path, "/memfd:") ||
		strings.HasPrefix(m.Path, "/dev/shm/") || strings.HasPrefix(m.Path, "/SYSV") || strings.HasPrefix(m.Path, "/dev/zero"))
}
