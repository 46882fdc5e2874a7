//go:build !linux && !darwin

package sys

import "golang.org/x/sys/unix"

func renameExclusive(int, string, string) error { return unix.ENOSYS }
