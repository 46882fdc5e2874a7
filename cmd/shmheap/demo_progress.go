package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how many files, or other things, are done: a bar on a
// terminal, and elsewhere a line for each quarter.
type progress struct {
	out  io.Writer
	noun string                   // what they are
	bar  *progressbar.ProgressBar // nil before the first file, and where there is no terminal
	tty  bool
	next int // quarter
}

func newProgress(out io.Writer, noun string) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, noun: noun, tty: ok && term.IsTerminal(int(f.Fd())), next: 1}
}

// set shows that done of total files are done.
func (p *progress) set(done, total int) {
	if !p.tty {
		for ; p.next <= 4 && 4*done >= p.next*total; p.next++ {
			fmt.Fprintf(p.out, "%3d%%  %d of %d %s\n", 25*p.next, done, total, p.noun)
		}
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetDescription(p.noun),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(p.noun),
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionClearOnFinish(),
		)
	}
	p.bar.Set(done)
}

// end leaves the line to what comes next.
func (p *progress) end() {
	if p.bar != nil {
		p.bar.Clear()
	}
}
