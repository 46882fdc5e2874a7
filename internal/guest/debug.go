package guest

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// ErrConfig: a kernel's configuration has not become what was asked for.
var ErrConfig = errors.New("options got lost")

// configs are fragments of a kernel's configuration.
//
//go:embed configs
var configs embed.FS

// debugKernels are those that are built here, by their fragments. One that is to have more gets a fragment
// more, or lines in one.
var debugKernels = map[string][]string{
	"kasan": {"base", "samples", "kasan"},
	"kcsan": {"base", "samples", "kcsan"},
}

// sourceSeries is what they are built from.
const sourceSeries = "6.12"

// Debug returns a kernel for amd64 that watches itself: "kasan" or "kcsan". It is built when the cache
// has none, which takes minutes; tell is called with a line now and then.
func Debug(name string, tell func(string)) (Kernel, error) {
	fragments, ok := debugKernels[name]
	if !ok {
		return Kernel{}, fmt.Errorf("debug kernel %s: %w", name, errors.ErrUnsupported)
	}
	source, err := Source(sourceSeries)
	if err != nil {
		return Kernel{}, fmt.Errorf("debug kernel %s: %w", name, err)
	}
	wanted, err := fragmentsText(fragments)
	if err != nil {
		return Kernel{}, err
	}
	key := fmt.Sprintf("%s-%s-%.12x", name, filepath.Base(source), sha256.Sum256([]byte(wanted)))
	dir, err := cached(filepath.Join("guest", "amd64", key), func(dir string) error {
		return buildKernel(source, dir, wanted, func(line string) { tell("kernel " + name + ": " + line) })
	})
	if err != nil {
		return Kernel{}, fmt.Errorf("debug kernel %s: %w", name, err)
	}
	release, err := os.ReadFile(filepath.Join(dir, "include", "config", "kernel.release"))
	if err != nil {
		return Kernel{}, err
	}
	return Kernel{
		Arch: "amd64", Release: strings.TrimSpace(string(release)) + "-" + name, Source: source, Build: dir,
		Image: filepath.Join(dir, "arch", "x86", "boot", "bzImage"),
	}, nil
}

// fragmentsText joins fragments.
func fragmentsText(names []string) (string, error) {
	var all strings.Builder
	for _, name := range names {
		text, err := fs.ReadFile(configs, "configs/"+name+".config")
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}

// Source returns the directory of a kernel's sources, unpacked.
func Source(series string) (string, error) {
	name := "linux-source-" + series
	have, err := sourceInCache(name)
	if err != nil || have != "" {
		return have, err
	}
	a, err := newApt("amd64") // the same for all
	if err != nil {
		return "", err
	}
	version, err := a.version(name)
	if err != nil {
		return "", err
	}
	return cached(filepath.Join("guest", "source", name+"-"+version), func(dir string) error {
		return unpackSource(a, dir, name)
	})
}

// sourceInCache returns sources that are there already, of whatever version, or "".
func sourceInCache(name string) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(cache, "guest", "source", name+"-*.done"))
	if err != nil || len(found) == 0 {
		return "", err
	}
	return strings.TrimSuffix(found[len(found)-1], ".done"), nil
}

func unpackSource(a *apt, dir, name string) error {
	deb, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(deb)
	if err := a.unpack(filepath.Join(deb, "root"), name); err != nil {
		return err
	}
	archive := filepath.Join(deb, "root", "usr", "src", name+".tar.xz")
	_, err = output(exec.Command("tar", "-C", dir, "--strip-components=1", "-xf", archive))
	return err
}

// buildKernel configures and builds a kernel in dir, and what modules are built against.
func buildKernel(source, dir, wanted string, tell func(string)) error {
	make := func(args ...string) *exec.Cmd {
		return exec.Command("make", append([]string{"-C", source, "O=" + dir, fmt.Sprintf("-j%d", runtime.NumCPU())}, args...)...)
	}
	fragment := filepath.Join(dir, "wanted.config")
	if err := os.WriteFile(fragment, []byte(wanted), 0o644); err != nil {
		return err
	}
	if _, err := output(make("tinyconfig")); err != nil {
		return err
	}
	merge := exec.Command(filepath.Join(source, "scripts", "kconfig", "merge_config.sh"), "-m", "-O", dir, filepath.Join(dir, ".config"), fragment)
	if _, err := output(merge); err != nil {
		return err
	}
	if _, err := output(make("olddefconfig")); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(dir, ".config"))
	if err != nil {
		return err
	}
	if lost := lostOptions(wanted, string(got)); len(lost) > 0 {
		return fmt.Errorf("%w: %s", ErrConfig, strings.Join(lost, ", "))
	}
	return follow(make("bzImage", "modules"), tell)
}

// lostOptions returns the lines of a fragment that a configuration does not have: an option whose own
// conditions are not met is dropped without a word. An option that a later line changes counts as that.
func lostOptions(wanted, got string) (lost []string) {
	final := map[string]string{}
	var order []string
	for line := range strings.Lines(wanted) {
		line = strings.TrimSpace(line)
		name, ok := option(line)
		if !ok {
			continue
		}
		if _, known := final[name]; !known {
			order = append(order, name)
		}
		final[name] = line
	}
	has := map[string]bool{}
	for line := range strings.Lines(got) {
		has[strings.TrimSpace(line)] = true
		if name, ok := option(strings.TrimSpace(line)); ok {
			has[name] = true
		}
	}
	for _, name := range order {
		off := strings.HasPrefix(final[name], "#") && !has[name] // not even asked about
		if !has[final[name]] && !off {
			lost = append(lost, final[name])
		}
	}
	return lost
}

// option returns the name of the option that a line of a configuration sets or clears.
func option(line string) (name string, ok bool) {
	if off, ok := strings.CutPrefix(line, "# CONFIG_"); ok {
		return strings.CutSuffix(off, " is not set")
	}
	on, ok := strings.CutPrefix(line, "CONFIG_")
	name, _, found := strings.Cut(on, "=")
	return name, ok && found
}

// follow runs a command that takes minutes and says how far it is every now and then.
func follow(cmd *exec.Cmd, tell func(string)) error {
	c := &counter{}
	cmd.Stdout, cmd.Stderr = c, c
	begin := time.Now()
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(20 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				tell(fmt.Sprintf("%d steps, %.0f s", c.lines.Load(), time.Since(begin).Seconds()))
			}
		}
	}()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, c.tail())
	}
	tell(fmt.Sprintf("built, %d steps, %.0f s", c.lines.Load(), time.Since(begin).Seconds()))
	return nil
}

// counter counts lines and keeps the last ones. One goroutine of package exec writes to it.
type counter struct {
	lines atomic.Int64
	kept  []byte
}

func (c *counter) Write(p []byte) (int, error) {
	c.lines.Add(int64(bytes.Count(p, []byte("\n"))))
	const most = 8 << 10
	c.kept = append(c.kept, p...)
	c.kept = c.kept[max(0, len(c.kept)-most):]
	return len(p), nil
}

func (c *counter) tail() string { return string(c.kept) }

var _ io.Writer = (*counter)(nil)
