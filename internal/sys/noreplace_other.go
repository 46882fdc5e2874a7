//go:build shmheap_portable || !(linux && (amd64 || arm64 || loong64 || ppc64le || riscv64))

package sys

import "errors"

// HasNoReplace tells whether ReserveNoReplace was built in.
const HasNoReplace = false

// ReserveNoReplace is not available in this build.
func ReserveNoReplace(base, size uint64) (uint64, error) { return 0, errors.ErrUnsupported }
