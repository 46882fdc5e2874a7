package main

import (
	"errors"
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

// put writes a file; "-" is where the command prints, which then prints nothing else there, as it would be in the file.
func (a *app) put(file string, write func(io.Writer) error) error {
	if file != "-" {
		return writeFile(file, write)
	}
	if a.out.Writer == io.Discard {
		return errors.New("two files cannot both be the standard output")
	}
	if err := write(a.out); err != nil {
		return err
	}
	a.out.Writer = io.Discard
	return nil
}

// terminal returns the terminal that is written to, nil if it is something else.
func (o *output) terminal() *os.File {
	if f, ok := o.Writer.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
