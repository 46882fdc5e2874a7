package probe

import (
	"errors"
	"runtime"
	"sync"

	"github.com/shmheap/shmheap/internal/sys"
)

// A way asks the kernel for size bytes at base, without access. It returns where they are now ours:
// at base, or elsewhere when the kernel did not want to place them there. It replaces no mapping.
// fs.ErrExist in the error says that something is mapped in the range.
type way func(base, size uint64) (at uint64, err error)

// byFlag takes a range with MAP_FIXED_NOREPLACE. An emulation that does not know the flag may reject
// it (WSL1 does, microsoft/WSL#10102); then the hint remains.
func byFlag(base, size uint64) (uint64, error) {
	return unlessRejected(sys.ReserveNoReplace, byHint, base, size)
}

// byHint takes a range with a mere hint.
func byHint(base, size uint64) (uint64, error) {
	return sys.ReserveHint(base, size)
}

// unlessRejected takes a range the first way, or the second where the system does not know the first.
// base and size are valid, so that EINVAL can only concern the flag.
func unlessRejected(first, second way, base, size uint64) (uint64, error) {
	at, err := first(base, size)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, sys.EINVAL) {
		return second(base, size)
	}
	return at, err
}

// bestWay returns byFlag where the flag is sound.
var bestWay = sync.OnceValue(func() way {
	version, err := sys.KernelVersion()
	if err == nil && flagIsSound(runtime.GOOS, version) && sys.HasNoReplace {
		return byFlag
	}
	return byHint
})

// hintIsBound reports whether the kernel takes a hint for an upper bound of what it may choose: Linux 6.6 to 6.8 on
// riscv64 does (add2cc6b6515, undone by b5b4287accd7), with any paging mode. A range that is free is refused to a hint
// then, and only the flag can take it, which that does not concern.
func hintIsBound(goos, goarch string, kernel sys.Version) bool {
	return goos == "linux" && goarch == "riscv64" && kernel.AtLeast(6, 6) && !kernel.AtLeast(6, 9)
}

// whyRefused says what is known about this kernel's refusals, "" when it is nothing.
func whyRefused() string {
	if version, err := sys.KernelVersion(); err == nil && hintIsBound(runtime.GOOS, runtime.GOARCH, version) {
		return " (Linux 6.6 to 6.8 on riscv64 takes a hint for an upper bound: use the flag, and so a build without the tag shmheap_portable)"
	}
	return ""
}

// flagIsSound reports whether MAP_FIXED_NOREPLACE may be passed. Linux 4.17 and 4.18 replace a mapping
// that begins inside the range (7aa867dd8952), and 4.16 ignores the flag.
func flagIsSound(goos string, kernel sys.Version) bool {
	return goos == "linux" && kernel.AtLeast(4, 19)
}
