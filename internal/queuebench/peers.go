package queuebench

import (
	"bytes"
	"context"
	_ "embed" // the source below
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed peers/queue.cc
var peerSource []byte

// program is the peers' program, or why there is none.
type program struct{ dir, path, missing string }

func (p *program) remove() {
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

// build compiles the peers in a temporary folder.
func build(ctx context.Context) (p program) {
	dir, err := os.MkdirTemp("", "shmheap-bench-")
	if err != nil {
		return program{missing: err.Error()}
	}
	p.dir, p.path = dir, filepath.Join(dir, "queue")
	source := filepath.Join(dir, "queue.cc")
	if err := os.WriteFile(source, peerSource, 0o600); err != nil {
		p.missing = err.Error()
		return p
	}
	compiler, err := exec.LookPath("g++")
	if err != nil {
		p.missing = "no C++ compiler: install g++"
		return p
	}
	cmd := exec.CommandContext(ctx, compiler, "-O2", "-std=c++17", "-pthread", "-o", p.path, source, "-lrt")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		p.missing = fmt.Sprintf("does not build, install libboost-dev: %s", firstError(said.String(), err))
	}
	return p
}

func firstError(said string, err error) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, "error:") {
			return strings.TrimSpace(line)
		}
	}
	return err.Error()
}
