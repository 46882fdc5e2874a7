package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoSeries: the archive has been asked, and has no sources of a series, or none any more, as backports move on.
var ErrNoSeries = errors.New("the archive has no sources of the series")

// laterSeries are those that the release of Debian that the system follows has no sources of, and the suite whose
// source package of the kernel had them.
var laterSeries = map[string]string{"6.18": "trixie-backports"}

// Source returns the directory of a kernel's sources, unpacked, of series 6.12 or 6.18. It returns ErrNoSeries for 6.18 alone.
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
	if suite := laterSeries[series]; suite != "" {
		return laterSource(a, suite, series, name)
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
	return untar(filepath.Join(deb, "root", "usr", "src", name+".tar.xz"), dir)
}

// untar unpacks an archive of one directory.
func untar(archive, dir string) error {
	_, err := output(exec.Command("tar", "-C", dir, "--strip-components=1", "-xf", archive))
	return err
}

// laterSource takes the newest source package of a series that a suite lists, and of it what the kernel's own authors
// have published: Debian's changes are left out.
func laterSource(system *apt, suite, series, name string) (string, error) {
	a, err := system.of(suite)
	if err != nil {
		return "", err
	}
	version, err := a.sourceVersion("linux", series+".")
	if err != nil {
		return "", err
	}
	return cached(filepath.Join("guest", "source", name+"-"+version), func(dir string) error {
		temporary, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		if _, err := a.run(temporary, "apt-get", "-qq", "source", "--download-only", "--tar-only", "linux="+version); err != nil {
			return fmt.Errorf("%w: %w", ErrCannotFetch, err)
		}
		archives, err := filepath.Glob(filepath.Join(temporary, "linux_*.orig.tar.*"))
		if err != nil || len(archives) != 1 {
			return fmt.Errorf("downloaded %v, want one archive: %w", archives, errors.Join(err, fs.ErrNotExist))
		}
		return untar(archives[0], dir)
	})
}

// sourceVersion returns the newest version of a source package that begins with a prefix.
func (a *apt) sourceVersion(name, prefix string) (string, error) {
	text, err := a.run("", "apt-cache", "showsrc", name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	newest := ""
	for line := range strings.Lines(text) {
		v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version: ")
		if ok && strings.HasPrefix(v, prefix) && (newest == "" || exec.Command("dpkg", "--compare-versions", v, "gt", newest).Run() == nil) {
			newest = v
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%s %s*: %w", name, prefix, ErrNoSeries)
	}
	return newest, nil
}

// of returns the package manager for the sources of another suite in the archive that the system's own comes from.
func (system *apt) of(suite string) (*apt, error) {
	text, err := system.run("", "apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	archive := ""
	for line := range strings.Lines(text) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), "Debian Debian "); ok {
			archive = uri
			break
		}
	}
	if archive == "" {
		return nil, fmt.Errorf("%w: the system follows no release of Debian", ErrCannotFetch)
	}
	a := &apt{arch: system.arch, lists: system.lists + "-" + suite}
	a.sources = filepath.Join(a.lists, "suite.sources")
	entry := fmt.Sprintf("Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\n", archive, suite)
	if err := errors.Join(os.MkdirAll(a.lists, 0o755), os.WriteFile(a.sources, []byte(entry), 0o644)); err != nil {
		return nil, err
	}
	if err := a.update(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannotFetch, err)
	}
	return a, nil
}
