package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// output is where a command prints. It remembers that something could not be written, as on a full disk, so that
// the command fails and not each place that prints.
type output struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// terminal returns the terminal that is written to, nil if it is something else.
func (o *output) terminal() *os.File {
	if f, ok := o.Writer.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
