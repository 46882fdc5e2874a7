// Command prober is what the tests of the launcher launch: it takes a range or opens a heap, and says
// how it went.
//
//	prober range BASE SIZE...   "reserved", "adopted" or "taken" for each range
//	prober heap NAME            "open" or "taken"
//	prober create NAME BASE SIZE
//	prober again NAME           the same, with heap.Options.StartAgain
//	prober wait                 "waiting", and waits for the end of standard input
//	prober hold BASE SIZE       as range, and then as wait
//	prober alone                "alone" if this process has no children
//	prober exec PROGRAM ARG...  starts a program with its environment, and ends as it does
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/probe"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(mode string, args []string) error {
	switch mode {
	case "range":
		return takeAll(args)
	case "wait":
		return wait()
	case "hold":
		base, size, err := parse(args)
		if err != nil {
			return err
		}
		if _, err := take(base, size); err != nil {
			return err
		}
		return wait()
	case "heap", "again":
		return open(args[0], mode == "again")
	case "create":
		return create(args[0], args[1:])
	case "alone":
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
			return fmt.Errorf("there is a child: %w", err)
		}
		fmt.Println("alone")
		return nil
	case "exec":
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Run()
	}
	return fmt.Errorf("no mode %q", mode)
}

func wait() error {
	fmt.Println("waiting")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// takeAll holds all ranges, with their guards, before it releases them.
func takeAll(args []string) error {
	var taken []*probe.Reservation
	for ; len(args) > 1; args = args[2:] {
		base, size, err := parse(args)
		if err != nil {
			return err
		}
		r, err := take(base, size)
		if err != nil {
			return err
		}
		taken = append(taken, r)
	}
	for _, r := range taken {
		if err := r.Release(); err != nil {
			return err
		}
	}
	return nil
}

func parse(args []string) (base, size uint64, err error) {
	if base, err = strconv.ParseUint(args[0], 0, 64); err != nil {
		return 0, 0, err
	}
	size, err = strconv.ParseUint(args[1], 0, 64)
	return base, size, err
}

func create(name string, args []string) error {
	base, size, err := parse(args)
	if err != nil {
		return err
	}
	h, err := heap.Create(name, &heap.Options{Base: base, Size: size})
	if err != nil {
		return err
	}
	return h.Close()
}

// take says how it came by the range, if it did.
func take(base, size uint64) (*probe.Reservation, error) {
	how := "reserved"
	r, err := probe.Reserve(base, size)
	if errors.Is(err, probe.ErrTaken) {
		how = "adopted"
		r, err = probe.Adopt(base, size)
	}
	if errors.Is(err, probe.ErrNotReserved) {
		how = "taken"
	} else if err != nil {
		return nil, err
	}
	if _, err := probe.Adopt(base, size); !errors.Is(err, probe.ErrNotReserved) {
		return nil, fmt.Errorf("adopted twice: %w", err)
	}
	fmt.Println(how)
	return r, nil
}

func open(name string, again bool) error {
	h, err := heap.Open(name, &heap.Options{StartAgain: again})
	if errors.Is(err, probe.ErrTaken) {
		fmt.Println("taken:", err)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println("open", os.Getpid(), os.Args[2:], os.Getenv("PROBER_TEST"))
	return h.Close()
}
