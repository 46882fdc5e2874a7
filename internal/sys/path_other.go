//go:build !linux && !darwin

package sys

import "os"

// pathOf returns the name that f was opened with.
func pathOf(f *os.File) string { return f.Name() }
