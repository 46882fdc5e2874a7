package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// ErrCannotFetch: a package is not in the cache and cannot be had, for want of apt or of a network.
var ErrCannotFetch = errors.New("cannot fetch a package")

// Fetch returns the directory where a package of Debian is unpacked. Packages that it depends on are not
// fetched with it.
func Fetch(arch, name string) (root string, err error) {
	root, err = cached(filepath.Join("guest", arch, name), func(dir string) error {
		a, err := newApt(arch)
		if err != nil {
			return err
		}
		return a.unpack(dir, name)
	})
	if err != nil {
		return "", fmt.Errorf("package %s for %s: %w", name, arch, err)
	}
	return root, nil
}

// apt is the package manager with lists of its own for another architecture: that of the system is
// neither asked nor changed, and no rights are needed.
type apt struct {
	arch, lists string
	sources     string // a file that names what it follows; "" for what the system does
}

// apts keeps this process from asking twice.
var apts sync.Map

// newApt returns the package manager with fresh lists.
func newApt(arch string) (*apt, error) {
	once, _ := apts.LoadOrStore(arch, sync.OnceValues(func() (*apt, error) {
		cache, err := Cache()
		if err != nil {
			return nil, err
		}
		a := &apt{arch: arch, lists: filepath.Join(cache, "guest", arch, "lists")}
		if err := a.update(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCannotFetch, err)
		}
		return a, nil
	}))
	return once.(func() (*apt, error))()
}

func (a *apt) update() error {
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.lists, dir), 0o755); err != nil {
			return err
		}
	}
	unlock, err := lockFile(a.lists + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	_, err = a.run("", "apt-get", "-qq", "update")
	return err
}

// unpack downloads packages and unpacks all of them into dir.
func (a *apt) unpack(dir string, names ...string) error {
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if _, err := a.run(temporary, "apt-get", append([]string{"-qq", "download"}, names...)...); err != nil {
		return fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	debs, err := filepath.Glob(filepath.Join(temporary, "*.deb"))
	if err != nil || len(debs) != len(names) {
		return fmt.Errorf("downloaded %v, want %d files: %w", debs, len(names), errors.Join(err, fs.ErrNotExist))
	}
	for _, deb := range debs {
		if _, err := output(exec.Command("dpkg-deb", "-x", deb, dir)); err != nil {
			return err
		}
	}
	return nil
}

// dependency returns the dependency of a package that begins with a prefix: a meta package has one.
func (a *apt) dependency(name, prefix string) (string, error) {
	text, err := a.run("", "apt-cache", "depends", name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	for line := range strings.Lines(text) {
		_, found, ok := strings.Cut(strings.TrimSpace(line), "Depends: ")
		if ok && strings.HasPrefix(found, prefix) {
			return found, nil
		}
	}
	return "", fmt.Errorf("package %s depends on nothing that begins with %s", name, prefix)
}

// version returns the version of a package that would be fetched.
func (a *apt) version(name string) (string, error) {
	text, err := a.run("", "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "Version: "); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("package %s has no version: %w", name, ErrCannotFetch)
}

func (a *apt) run(dir, program string, args ...string) (string, error) {
	options := []string{
		"-oAPT::Architecture=" + a.arch, "-oAPT::Architectures=" + a.arch,
		"-oDir::State=" + filepath.Join(a.lists, "state"), "-oDir::State::status=/dev/null",
		"-oDir::Cache=" + filepath.Join(a.lists, "cache"), "-oAPT::Sandbox::User=root",
	}
	if a.sources != "" {
		options = append(options, "-oDir::Etc::sourcelist="+a.sources, "-oDir::Etc::sourceparts=/dev/null")
	}
	cmd := exec.Command(program, append(options, args...)...)
	cmd.Dir = dir
	return output(cmd)
}

// output runs a command and returns what it prints; an error says that too.
func output(cmd *exec.Cmd) (string, error) {
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, text)
	}
	return string(text), nil
}
