//go:build !(linux && (amd64 || arm64))

package launch

import (
	"errors"
	"io"
)

// follow needs ptrace, which this build does not have.
func follow(_ *request, answer func(error) error, _ io.Writer) error {
	return answer(errors.ErrUnsupported)
}
