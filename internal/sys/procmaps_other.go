//go:build !linux && !darwin

package sys

import (
	"errors"
	"os/exec"
)

// EachMappingOf is not available on this system.
func EachMappingOf(pid int, visit func(Mapping) error) error { return errors.ErrUnsupported }

// ProcessExists is not available on this system; it reports true.
func ProcessExists(pid int) bool { return true }

// HasProc reports that this system has no /proc.
func HasProc() bool { return false }

// IsGone reports false: nothing of this file can tell.
func IsGone(err error) bool { return false }

// ProcessName is not available on this system.
func ProcessName(pid int) string { return "" }

// StateOf is not available on this system.
func StateOf(pid int) (ProcessState, error) { return ProcessState{}, errors.ErrUnsupported }

// ChildrenOf is not available on this system.
func ChildrenOf(pid int) ([]int, error) { return nil, errors.ErrUnsupported }

// OwnGroup does nothing on this system.
func OwnGroup(cmd *exec.Cmd) {}

// KillGroup is not available on this system.
func KillGroup(pid int) error { return errors.ErrUnsupported }

// CurrentSettings knows nothing on this system.
func CurrentSettings() Settings { return Settings{Randomise: -1, RandomBits: -1, StackLimit: -1} }
