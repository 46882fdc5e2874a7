package kmod

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestMain leaves the examples out where the module is not inserted: tests/kmod runs them where it is.
func TestMain(m *testing.M) {
	d, err := Open()
	if err == nil {
		d.Close()
	}
	if _, missing := errors.AsType[*UnavailableError](err); !missing {
		err = nil // the tests will tell
	}
	shmtest.MainWithExamples(m, err)
}
