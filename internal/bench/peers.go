package bench

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

//go:embed peers/*.h peers/*.cc
var peerSources embed.FS

// Peer tells of a subject that is not ours.
type Peer struct {
	Name    string
	Version string // what it says itself
	Library string // the file that malloc comes from
	Missing string // why it does not take part, "" if it does
}

// toolchain builds the peers in a temporary folder.
type toolchain struct {
	dir, compiler string
	flags         []string
	missing       string // why nothing can be built
}

// newToolchain unpacks the sources. remove takes the folder away.
func newToolchain() (*toolchain, error) {
	dir, err := os.MkdirTemp("", "shmheap-bench-")
	if err != nil {
		return nil, err
	}
	t := &toolchain{dir: dir, flags: []string{"-O2", "-std=c++17", "-fno-builtin-malloc", "-fno-builtin-free", "-pthread"}}
	if err := os.CopyFS(dir, peerSources); err != nil {
		t.remove()
		return nil, fmt.Errorf("unpack the peers: %w", err)
	}
	for _, name := range []string{os.Getenv("CXX"), "g++", "c++", "clang++"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			t.compiler = path
			return t, nil
		}
	}
	t.missing = "no C++ compiler: install g++"
	return t, nil
}

func (t *toolchain) remove() { os.RemoveAll(t.dir) }

// built is a peer's program, or why there is none.
type built struct{ path, missing string }

// buildAll compiles the programs of the subjects, two at a time, each once.
func (t *toolchain) buildAll(ctx context.Context, subjects []Subject) map[string]built {
	programs := make(map[string]*Subject)
	for i := range subjects {
		if s := &subjects[i]; s.source != "" && programs[s.program()] == nil {
			programs[s.program()] = s
		}
	}
	all := make(map[string]built)
	var mu sync.Mutex
	var wait sync.WaitGroup
	slots := make(chan struct{}, 2)
	for name, s := range programs {
		wait.Go(func() {
			slots <- struct{}{}
			b := t.build(ctx, s)
			<-slots
			mu.Lock()
			defer mu.Unlock()
			all[name] = b
		})
	}
	wait.Wait()
	return all
}

func (t *toolchain) build(ctx context.Context, s *Subject) built {
	if t.missing != "" {
		return built{missing: t.missing}
	}
	path := filepath.Join(t.dir, "peer-"+s.Name)
	args := append(append([]string{}, t.flags...), "-o", path, filepath.Join(t.dir, "peers", s.source))
	for _, more := range []string{s.macro, s.library} {
		if more != "" {
			args = append(args, more)
		}
	}
	cmd := exec.CommandContext(ctx, t.compiler, args...)
	// Interrupted, the compiler takes its temporary files away; what it leaves goes with the folder.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+t.dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return built{missing: fmt.Sprintf("does not build, install %s: %s", s.packages, firstError(said.String(), err))}
	}
	return built{path: path}
}

// firstError returns the line of a compiler's output that says most.
func firstError(said string, err error) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, "error:") || strings.Contains(line, "cannot find") {
			return strings.TrimSpace(line)
		}
	}
	return err.Error()
}
