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
	"slices"
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

// recipe is what a kernel is built from here: the sources of a series, and fragments of a configuration.
type recipe struct {
	series    string
	arch      string
	fragments []string // one that is to have more gets a fragment more, or lines in one
}

// recipes are the kernels that are built here.
var recipes = map[string]recipe{
	"kasan":      {"6.12", "amd64", []string{"base", "amd64", "5level", "samples", "kasan"}},
	"kcsan":      {"6.12", "amd64", []string{"base", "amd64", "5level", "samples", "kcsan"}},
	"64k":        {"6.12", "arm64", []string{"base", "arm64", "samples", "64k"}},
	"6.18":       {"6.18", "amd64", []string{"base", "amd64", "samples"}},
	"6.18-kasan": {"6.18", "amd64", []string{"base", "amd64", "samples", "kasan"}},
}

// targets are what make calls a processor, and the image that it is to build: x86 is of 64 bits where asked for, and
// other than x86_64 in what it has without being asked.
var targets = map[string]struct{ arch, image string }{"amd64": {"x86", "bzImage"}, "arm64": {"arm64", "Image"}}

// Debug returns a kernel that Debian has none of. For amd64 "kasan" and "kcsan", of 6.12, and "6.18-kasan" watch
// themselves, and "6.18" is of a series that Debian 12 has no packages of; for arm64 "64k" has pages of 64 KiB. It is
// built when the cache has none, which takes minutes; tell is called with a line now and then. ErrNoCompiler is
// returned when there is none for its processor.
func Debug(name string, tell func(string)) (Kernel, error) {
	r, ok := recipes[name]
	if !ok {
		return Kernel{}, fmt.Errorf("kernel %s: %w", name, errors.ErrUnsupported)
	}
	k, err := r.kernel(name, tell)
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %s for %s: %w", name, r.arch, err)
	}
	return k, nil
}

// kernel returns the kernel of a recipe, and builds it before that if it is not there.
func (r recipe) kernel(name string, tell func(string)) (Kernel, error) {
	source, err := Source(r.series)
	if err != nil {
		return Kernel{}, err
	}
	wanted, err := fragmentsText(r.fragments)
	if err != nil {
		return Kernel{}, err
	}
	key := fmt.Sprintf("%s-%s-%.12x", name, filepath.Base(source), sha256.Sum256([]byte(settings(wanted))))
	dir, err := cached(filepath.Join("guest", r.arch, key), func(dir string) error {
		return r.build(source, dir, wanted, func(line string) { tell("kernel " + name + ": " + line) })
	})
	if err != nil {
		return Kernel{}, err
	}
	release, err := os.ReadFile(filepath.Join(dir, "include", "config", "kernel.release"))
	if err != nil {
		return Kernel{}, err
	}
	target := targets[r.arch]
	return Kernel{
		Arch: r.arch, Release: strings.TrimSpace(string(release)) + "-" + name, Source: source, Build: dir,
		Image: filepath.Join(dir, "arch", target.arch, "boot", target.image),
	}, nil
}

// settings returns what of a configuration decides about the kernel: its lines in order, without remarks.
func settings(config string) string {
	var lines []string
	for line := range strings.Lines(config) {
		if _, ok := option(strings.TrimSpace(line)); ok {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
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

// build configures and builds a kernel in dir, and what modules are built against.
func (r recipe) build(source, dir, wanted string, tell func(string)) error {
	all := []string{"-C", source, "O=" + dir, "ARCH=" + targets[r.arch].arch, fmt.Sprintf("-j%d", runtime.NumCPU())}
	if r.arch != runtime.GOARCH {
		all = append(all, "CROSS_COMPILE="+crossPrefixes[r.arch])
		if _, err := exec.LookPath(crossPrefixes[r.arch] + "gcc"); err != nil {
			return fmt.Errorf("%w: %w", ErrNoCompiler, err)
		}
	}
	make := func(args ...string) *exec.Cmd { return exec.Command("make", slices.Concat(all, args)...) }
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
	return follow(make(targets[r.arch].image, "modules"), tell)
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
