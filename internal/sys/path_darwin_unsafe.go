//go:build darwin

package sys

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pathOf returns where the file is now, whoever opened it: F_GETPATH fills a buffer of MAXPATHLEN bytes (man 2 fcntl). Where the
// kernel does not tell it is the name that f was opened with.
func pathOf(f *os.File) string {
	var path [1024]byte
	_, err := unix.FcntlInt(f.Fd(), unix.F_GETPATH, int(uintptr(unsafe.Pointer(&path))))
	runtime.KeepAlive(&path)
	if err != nil {
		return f.Name()
	}
	return unix.ByteSliceToString(path[:])
}
