package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shmheap/shmheap/internal/sys"
)

var errUsage = errors.New("no such tool, or arguments are missing: see guest.Tool")

const (
	kmemleak = "/sys/kernel/debug/kmemleak"
	// leakAge is how old an object must be to count as leaked, and a little.
	leakAge = 6 * time.Second
)

// tool does what guest.Tool says.
func tool(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "insert":
		return insert(args[1], strings.Join(args[2:], " "))
	case len(args) == 2 && args[0] == "remove":
		return sys.RemoveModule(args[1])
	case len(args) == 3 && args[0] == "write":
		return write(args[1], args[2])
	case len(args) == 1 && args[0] == "forget":
		return errors.Join(write(kmemleak, "scan=off"), write(kmemleak, "scan"), write(kmemleak, "clear"))
	case len(args) == 1 && args[0] == "leaks":
		return leaks()
	}
	return fmt.Errorf("%w: %q", errUsage, args)
}

func insert(path, parameters string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return sys.InsertModule(f, parameters)
}

// write writes in one call, to a file that exists: what it says in answer is the error.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// leaks scans twice, as an object can be missed while a reference to it is moved.
func leaks() error {
	for range 2 {
		time.Sleep(leakAge)
		if err := write(kmemleak, "scan"); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(kmemleak)
	fmt.Printf("%s", text)
	return err
}
