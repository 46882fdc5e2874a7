package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// child is the parent's handle of one process. Only ended and messages are
// shared with the goroutine that waits for the process.
type child struct {
	role     Role
	number   int
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	stderr   bytes.Buffer
	hello    Hello
	messages chan message  // closed when the process has closed its output
	ended    chan struct{} // closed when it has been waited for; err is set by then
	err      error
	killed   bool // by the parent
}

// startChild starts cmd and a goroutine that ends when the process does.
func startChild(cmd *exec.Cmd, role Role, number int) (*child, error) {
	c := &child{
		role:     role,
		number:   number,
		cmd:      cmd,
		messages: make(chan message, 2), // all that a child sends
		ended:    make(chan struct{}),
	}
	cmd.Stderr = &c.stderr
	var err error
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %v: %w", c, err)
	}
	go c.follow(out)
	return c, nil
}

// follow takes the messages of the process and then waits for its end.
func (c *child) follow(out io.Reader) {
	lines := json.NewDecoder(out)
	for range cap(c.messages) {
		var m message
		if lines.Decode(&m) != nil {
			break
		}
		c.messages <- m
	}
	close(c.messages)
	io.Copy(io.Discard, out) // nothing, unless the child is not one of ours
	c.err = c.cmd.Wait()
	close(c.ended)
}

// String is "worker 2".
func (c *child) String() string {
	if c.role == RoleReader {
		return string(c.role)
	}
	return fmt.Sprintf("%s %d", c.role, c.number)
}

// receive returns the next message, or an error that says how the process
// has ended without one.
func (c *child) receive(ctx context.Context) (message, error) {
	select {
	case m, ok := <-c.messages:
		if ok {
			return m, nil
		}
	case <-ctx.Done():
		return message{}, ctx.Err()
	}
	<-c.ended
	return message{}, c.failure()
}

// failure says how a process has ended that should not have.
func (c *child) failure() error {
	text := strings.TrimPrefix(strings.TrimSpace(c.stderr.String()), "shmheap: ")
	if c.err == nil || text != "" {
		return fmt.Errorf("%v (pid %d) ended early: %s", c, c.cmd.Process.Pid, text)
	}
	return fmt.Errorf("%v (pid %d) ended early: %w", c, c.cmd.Process.Pid, c.err)
}

// begin gives the start.
func (c *child) begin() error {
	if _, err := io.WriteString(c.stdin, start+"\n"); err != nil {
		return fmt.Errorf("start %v: %w", c, err)
	}
	return nil
}

// kill ends the process with SIGKILL and waits for it. It may be called for
// one that has ended already.
func (c *child) kill() {
	c.killed = true
	c.cmd.Process.Kill()
	c.stdin.Close()
	<-c.ended
}

// hasEnded reports whether the process is gone.
func (c *child) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// finish waits for a process that has sent all its messages.
func (c *child) finish(ctx context.Context) error {
	select {
	case <-c.ended:
		if c.err != nil {
			return c.failure()
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
