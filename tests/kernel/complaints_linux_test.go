package kernel

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// trouble is what the kernel prints when something in it is wrong.
var trouble = regexp.MustCompile(`BUG:|WARNING:|Oops|Call [Tt]race|KASAN|KCSAN|possible circular`)

// kernelComplaints returns the lines of the kernel's log in which it complains of itself.
func kernelComplaints(t testing.TB) string {
	t.Helper()
	const readAll = 3
	log := make([]byte, 1<<20)
	n, err := syscall.Klogctl(readAll, log)
	if err != nil {
		t.Logf("note: the kernel's log cannot be read: %v", err)
		return ""
	}
	var found []string
	for _, line := range strings.Split(string(log[:n]), "\n") {
		if trouble.MatchString(line) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}
