package bench

// What is measured beside each other, by name.
const (
	SubjectCache     = "cache"       // alloc.Cache, one for each worker
	SubjectAllocator = "allocator"   // Allocator.Alloc and Free, for all workers
	SubjectMimalloc  = "mimalloc"    //
	SubjectJemalloc  = "jemalloc"    //
	SubjectGlibc     = "glibc"       //
	SubjectMmap      = "glibc-mmap"  // with M_MMAP_THRESHOLD fixed at 64 KiB
	SubjectFixed     = "boost-fixed" // fixed_managed_shared_memory: raw pointers at a fixed address
	SubjectBoost     = "boost"       // managed_shared_memory: offset_ptr
	SubjectGo        = "go"          // make and new
)

// Subject is something that allocates.
type Subject struct {
	Name string
	Peer bool // not ours
	// source, library and macro say how a peer in C++ is built, and packages what Debian calls what that
	// needs.
	source, library, macro, packages string
	shared                           bool // between processes
}

var subjects = []Subject{
	{Name: SubjectCache, shared: true},
	{Name: SubjectAllocator, shared: true},
	{Name: SubjectMimalloc, Peer: true, source: "malloc.cc", library: "-lmimalloc", macro: "-DPEER_MIMALLOC", packages: "libmimalloc-dev"},
	{Name: SubjectJemalloc, Peer: true, source: "malloc.cc", library: "-ljemalloc", macro: "-DPEER_JEMALLOC", packages: "libjemalloc-dev"},
	{Name: SubjectGlibc, Peer: true, source: "malloc.cc", packages: "libc6-dev"},
	{Name: SubjectMmap, Peer: true, source: "malloc.cc", packages: "libc6-dev"},
	{Name: SubjectFixed, Peer: true, source: "boost.cc", library: "-lrt", packages: "libboost-dev", shared: true},
	{Name: SubjectBoost, Peer: true, source: "boost.cc", library: "-lrt", packages: "libboost-dev", shared: true},
	{Name: SubjectGo, Peer: true},
}

// program is what two subjects that share one compiled program have in common.
func (s *Subject) program() string { return s.source + s.macro }

// takesPart says why a subject does not do a workload, "" if it does.
func (s *Subject) takesPart(w *Workload) string {
	switch {
	case w.special == onlyLoop && s.Name != SubjectCache && s.Name != SubjectGlibc:
		return "one loop in Go and one in C++"
	case s.Name == SubjectMmap && w.special != onlyLarge:
		return "for large blocks"
	case s.Name == SubjectGo && w.handsOver():
		return "a reference that is dropped is no free"
	}
	return ""
}

// handsOver reports whether blocks are freed by another worker than the one that allocated them.
func (w *Workload) handsOver() bool {
	switch w.Loop {
	case loopPipe, loopXmalloc, loopLarson, loopMstress, loopScratch:
		return true
	}
	return false
}

// SubjectNames are the names of all, in the order of the report.
func SubjectNames() (names []string) {
	for i := range subjects {
		names = append(names, subjects[i].Name)
	}
	return names
}
