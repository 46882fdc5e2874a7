package launch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/shmheap/shmheap/internal/handshake"
	"github.com/shmheap/shmheap/internal/sys"
)

// self is the executable of this process, also when its name is gone.
const self = "/proc/self/exe"

// The messages between launcher and tracer are one line of JSON each.
type (
	hello   struct{ PID int } // the tracer's
	request struct {
		Thread  int // to trace
		Program string
		Ranges  []addresses
		Nonce   handshake.Nonce
		Require bool
	}
	addresses struct{ Base, Size uint64 }
	answer    struct{ Error string } // "" when the thread is traced
)

// startTracer starts the tracer and returns when it traces this thread.
func (l *Launch) startTracer(nonce handshake.Nonce) error {
	if !sys.HasPtrace {
		return errors.ErrUnsupported
	}
	cmd := exec.Command(self, l.Tracer...)
	cmd.Stderr = os.Stderr
	to, from, err := startPiped(cmd)
	if err != nil {
		return fmt.Errorf("start the tracer: %w", err)
	}
	err = l.converse(to, bufio.NewReader(from), nonce)
	err = errors.Join(err, to.Close(), from.Close())
	if err != nil {
		_ = cmd.Wait() // it ends when it cannot trace, and when nobody talks to it
	}
	return err
}

// startPiped starts a command and returns the other ends of its standard input and output.
func startPiped(cmd *exec.Cmd) (to, from *os.File, err error) {
	stdin, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer stdin.Close()
	from, stdout, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, to.Close())
	}
	defer stdout.Close()
	cmd.Stdin, cmd.Stdout = stdin, stdout
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, to.Close(), from.Close())
	}
	return to, from, nil
}

// converse is the launcher's part of the conversation.
func (l *Launch) converse(to io.Writer, from *bufio.Reader, nonce handshake.Nonce) error {
	var greeting hello
	if err := hear(from, &greeting); err != nil {
		return err
	}
	if err := sys.AllowTracer(greeting.PID); err != nil {
		return err
	}
	r := request{Thread: sys.ThreadID(), Program: l.Args[0], Nonce: nonce, Require: l.Require}
	for _, span := range l.Ranges {
		r.Ranges = append(r.Ranges, addresses{span.Start, span.Size()})
	}
	if err := json.NewEncoder(to).Encode(r); err != nil {
		return err
	}
	var a answer
	if err := hear(from, &a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

func hear(lines *bufio.Reader, message any) error {
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("talk between launcher and tracer: %w", err)
	}
	return json.Unmarshal(line, message)
}

// Trace is the whole of the tracer: this executable runs it when it is started with Launch.Tracer.
func Trace() error {
	if err := sys.NewSession(); err != nil { // so that Ctrl-C does not reach it
		return err
	}
	return serve(os.Stdin, os.Stdout, os.Stderr)
}

// serve is the tracer's conversation with the launcher.
func serve(in io.Reader, out, warn io.Writer) error {
	if err := json.NewEncoder(out).Encode(hello{os.Getpid()}); err != nil {
		return err
	}
	var r request
	if err := hear(bufio.NewReader(in), &r); err != nil {
		return nil // the launcher is gone, or does not want it any more
	}
	return follow(&r, func(err error) error {
		var a answer
		if err != nil {
			a.Error = err.Error()
		}
		return json.NewEncoder(out).Encode(a)
	}, warn)
}
