//go:build !shmheap_portable && (amd64 || arm64 || loong64 || ppc64le || riscv64)

package sys

import "golang.org/x/sys/unix"

// HasNoReplace tells whether ReserveNoReplace was built in. The tag shmheap_portable leaves it out.
const HasNoReplace = true

// ReserveNoReplace reserves size bytes of address space without access (PROT_NONE) at base, a
// multiple of the page size. It fails with EEXIST where anything is mapped in the range.
//
// Kernels before 4.17 do not know the flag and take base as a hint; from 4.17 until 4.19 they look at
// the start of the range only and replace a mapping that begins later (7aa867dd8952).
func ReserveNoReplace(base, size uint64) (uint64, error) {
	return mapAnonymous(base, size, unix.MAP_FIXED_NOREPLACE)
}
