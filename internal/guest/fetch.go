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

// Kernel returns the image of Debian's kernel for virtual machines: arch is amd64 or arm64, series 6.1
// or 6.12. It is fetched when the cache has none.
func Kernel(arch, series string) (image string, err error) {
	meta := "linux-image-" + series + "-cloud-" + arch
	if series == "6.1" { // the one that Debian 12 came with has no number in its name
		meta = "linux-image-cloud-" + arch
	}
	root, err := fetch(arch, "kernel-"+series, func(a *apt) (string, error) { return a.dependency(meta, "linux-image-"+series+".") })
	if err != nil {
		return "", fmt.Errorf("kernel %s for %s: %w", series, arch, err)
	}
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return "", fmt.Errorf("kernels in %s: %v, want one: %w", root, images, errors.Join(err, fs.ErrNotExist))
	}
	return images[0], nil
}

// Fetch returns the directory where a package of Debian is unpacked. Packages that it depends on are not
// fetched with it.
func Fetch(arch, name string) (root string, err error) {
	root, err = fetch(arch, name, func(*apt) (string, error) { return name, nil })
	if err != nil {
		return "", fmt.Errorf("package %s for %s: %w", name, arch, err)
	}
	return root, nil
}

// fetch returns the directory of key in the cache, and fills it first if need be. A directory gets its
// name when it is complete, so that any number of processes may call it.
func fetch(arch, key string, which func(*apt) (string, error)) (string, error) {
	cache, err := cacheDir(arch)
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, key)
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	temporary, err := os.MkdirTemp(cache, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := download(arch, temporary, which); err != nil {
		return "", fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	if err := os.Rename(filepath.Join(temporary, "root"), root); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return root, nil
}

// download unpacks a package below dir/root.
func download(arch, dir string, which func(*apt) (string, error)) error {
	a := &apt{arch: arch, lists: filepath.Join(filepath.Dir(dir), "lists")}
	if err := a.update(); err != nil {
		return err
	}
	name, err := which(a)
	if err != nil {
		return err
	}
	if _, err := a.run(dir, "apt-get", "-qq", "download", name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("downloaded %v, want one file: %w", debs, errors.Join(err, fs.ErrNotExist))
	}
	_, err = output(exec.Command("dpkg-deb", "-x", debs[0], filepath.Join(dir, "root")))
	return err
}

// cacheDir returns the cache for an architecture.
func cacheDir(arch string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "guest", arch)
	return dir, os.MkdirAll(dir, 0o755)
}

// repository returns the root of the module that the working directory is in.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("go.mod: %w", fs.ErrNotExist)
		}
	}
}

// apt is the package manager with lists of its own for another architecture: that of the system is
// neither asked nor changed, and no rights are needed.
type apt struct{ arch, lists string }

// updates keeps this process from asking twice.
var updates sync.Map

func (a *apt) update() error {
	once, _ := updates.LoadOrStore(a.arch, sync.OnceValue(func() error {
		for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
			if err := os.MkdirAll(filepath.Join(a.lists, dir), 0o755); err != nil {
				return err
			}
		}
		_, err := a.run("", "apt-get", "-qq", "update")
		return err
	}))
	return once.(func() error)()
}

// dependency returns the dependency of a package that begins with a prefix: a meta package has one.
func (a *apt) dependency(name, prefix string) (string, error) {
	text, err := a.run("", "apt-cache", "depends", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		_, found, ok := strings.Cut(strings.TrimSpace(line), "Depends: ")
		if ok && strings.HasPrefix(found, prefix) {
			return found, nil
		}
	}
	return "", fmt.Errorf("package %s depends on nothing that begins with %s", name, prefix)
}

func (a *apt) run(dir, program string, args ...string) (string, error) {
	options := []string{
		"-oAPT::Architecture=" + a.arch, "-oAPT::Architectures=" + a.arch,
		"-oDir::State=" + filepath.Join(a.lists, "state"), "-oDir::State::status=/dev/null",
		"-oDir::Cache=" + filepath.Join(a.lists, "cache"), "-oAPT::Sandbox::User=root",
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
