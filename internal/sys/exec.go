//go:build unix

package sys

import (
	"os"
	"syscall"
)

// Exec replaces the program of this process. It returns only when it cannot. Descriptors that are not
// close-on-exec, the working directory and the process id stay.
func Exec(path string, args, env []string) error {
	return &os.PathError{Op: "exec", Path: path, Err: syscall.Exec(path, args, env)}
}
