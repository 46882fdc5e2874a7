package slab

import (
	"errors"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestMain leaves the example out where the module is not inserted.
func TestMain(m *testing.M) {
	c, err := Create(&Options{Size: MinSize})
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, ErrNoModule) && !errors.Is(err, ErrPlatform) && !errors.Is(err, ErrPermission) {
		err = nil // the tests will tell
	}
	shmtest.MainWithExamples(m, err)
}
