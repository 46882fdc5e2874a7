package slab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain leaves the example out where the module is not inserted.
func TestMain(m *testing.M) {
	flag.Parse()
	c, err := Create(&Options{Size: MinSize})
	if errors.Is(err, ErrNoModule) || errors.Is(err, ErrPlatform) || errors.Is(err, ErrPermission) {
		fmt.Println("note: no example:", err)
		_ = flag.Set("test.skip", "^Example")
	} else if err == nil {
		c.Close()
	}
	os.Exit(m.Run())
}
