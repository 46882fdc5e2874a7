//go:build !linux

package sys

import (
	"errors"
	"fmt"
	"os"
)

var errNoBPF = fmt.Errorf("bpf: %w", errors.ErrUnsupported)

// MapCreate is not to be had here.
func MapCreate(*MapSpec) (*os.File, error) { return nil, errNoBPF }

// MapInfo is not to be had here.
func MapInfo(*os.File) (MapSpec, error) { return MapSpec{}, errNoBPF }

// MapUpdate is not to be had here.
func MapUpdate(_ *os.File, _, _ []byte) error { return errNoBPF }

// ProgramLoad is not to be had here.
func ProgramLoad(*ProgramSpec, []byte) (*os.File, error) { return nil, errNoBPF }

// ProgramRun is not to be had here.
func ProgramRun(*os.File, []byte) (uint32, error) { return 0, errNoBPF }

// ProgramTest is not to be had here.
func ProgramTest(_ *os.File, _ []byte) (uint32, error) { return 0, errNoBPF }

// ObjectPin is not to be had here.
func ObjectPin(*os.File, string) error { return errNoBPF }

// ObjectGet is not to be had here.
func ObjectGet(string) (*os.File, error) { return nil, errNoBPF }

// RawTracepoint is not to be had here.
func RawTracepoint(string, *os.File) (*os.File, error) { return nil, errNoBPF }

// LinkCreate is not to be had here.
func LinkCreate(_ *os.File, _, _ uint32) (*os.File, error) { return nil, errNoBPF }

// MountBPF is not to be had here.
func MountBPF(string) error { return errNoBPF }

// IsBPF is not to be had here.
func IsBPF(string) bool { return false }

// PopulateAt is not to be had here.
func PopulateAt(_, _ uint64) error { return errNoBPF }

// Pollable is not to be had here.
func Pollable(*os.File) (*os.File, error) { return nil, errNoBPF }
