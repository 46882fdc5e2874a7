package sys

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Version is the first two numbers of a kernel release.
type Version struct{ Major, Minor int }

// AtLeast reports whether v is major.minor or later.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// KernelVersion returns the version of the running kernel, as uname tells it. Emulations of Linux
// tell the version that they imitate.
func KernelVersion() (Version, error) {
	release, err := KernelRelease()
	if err != nil {
		return Version{}, err
	}
	return ParseVersion(release)
}

// KernelRelease returns the release of the running kernel, as uname -r shows it.
func KernelRelease() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}

// ParseVersion reads a release such as "6.1.0-18-amd64", "4.19" or "5.10-rc3".
func ParseVersion(release string) (Version, error) {
	major, rest, dotted := strings.Cut(release, ".")
	minor := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	if !dotted || errX != nil || errY != nil || x < 0 {
		return Version{}, fmt.Errorf("kernel release %q: no version", release)
	}
	return Version{x, y}, nil
}
