package sys

import (
	"os"
	"path/filepath"
)

// ProgramName returns the last part of the name that this program was started by. A library in a program of another
// language may not be told, and is "unknown".
func ProgramName() string {
	if len(os.Args) == 0 {
		return "unknown"
	}
	return filepath.Base(os.Args[0])
}
