package kmod

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain leaves the examples out where the module is not inserted: tests/kmod runs them where it is.
func TestMain(m *testing.M) {
	flag.Parse()
	d, err := Open()
	if _, missing := errors.AsType[*UnavailableError](err); missing {
		fmt.Println("note: no examples:", err)
		_ = flag.Set("test.skip", "^Example")
	} else if err == nil {
		d.Close()
	}
	os.Exit(m.Run())
}
