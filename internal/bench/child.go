package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// child is a process that the session started. It prints results and ends.
type child struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser // closed by the kernel when we are gone
	stderr  bytes.Buffer
	results []result
	err     error
}

// runChildren starts the commands and waits for all. When one fails, or ctx is done, the others are
// killed. When it returns none is left.
func runChildren(ctx context.Context, name string, cmds []*exec.Cmd) ([]result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan *child, len(cmds))
	started := 0
	var errs []error
	for _, cmd := range cmds {
		c := &child{name: name, cmd: cmd}
		out, err := c.start()
		if err != nil {
			errs = append(errs, err)
			cancel()
			break
		}
		started++
		go func() {
			stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
			defer stop()
			c.follow(out)
			ended <- c
		}()
	}
	var results []result
	for range started {
		c := <-ended
		if c.err != nil {
			errs = append(errs, c.err)
			cancel()
		}
		results = append(results, c.results...)
	}
	return results, first(errs)
}

// first returns the first error: those that follow come of killing the rest.
func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}

func (c *child) start() (out io.Reader, err error) {
	c.cmd.Stderr = &c.stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return out, nil
}

// follow takes the results and waits for the end.
func (c *child) follow(out io.Reader) {
	lines := json.NewDecoder(out)
	for {
		var r result
		err := lines.Decode(&r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.err = fmt.Errorf("%s (pid %d) printed no result: %w", c.name, c.cmd.Process.Pid, err)
			c.cmd.Process.Kill()
			break
		}
		c.results = append(c.results, r)
	}
	if err := c.cmd.Wait(); err != nil && c.err == nil {
		c.err = fmt.Errorf("%s (pid %d): %w: %s", c.name, c.cmd.Process.Pid, err, strings.TrimSpace(c.stderr.String()))
	}
}
