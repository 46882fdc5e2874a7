package guest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// ErrNoCompiler: the compiler for a kernel's modules is not installed.
var ErrNoCompiler = errors.New("no compiler")

// crossPrefixes are what the names of the compilers for other processors begin with.
var crossPrefixes = map[string]string{"amd64": "x86_64-linux-gnu-", "arm64": "aarch64-linux-gnu-"}

// kernelArchs are the names that the kernel's makefiles have for processors.
var kernelArchs = map[string]string{"amd64": "x86_64", "arm64": "arm64"}

// ModuleBuild is a build of modules.
type ModuleBuild struct {
	Files []string // the modules
	Log   string   // what the compiler said
}

// Warnings returns the lines of the log with a warning or an error.
func (b ModuleBuild) Warnings() (lines []string) {
	for line := range strings.Lines(b.Log) {
		if strings.Contains(line, "warning:") || strings.Contains(line, "error:") || strings.HasPrefix(line, "WARNING:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// Modules builds the modules of source trees: their names, which become directories beside each other, and
// where they are. Each has a Kbuild file. They are copied first, one copy for each kernel and each set of
// further arguments of make, such as W=1; a build with the same content is not repeated.
func (k Kernel) Modules(trees map[string]string, args ...string) (ModuleBuild, error) {
	sources, err := readSources(trees)
	if err != nil {
		return ModuleBuild{}, err
	}
	all, err := k.makeArguments(args)
	if err != nil {
		return ModuleBuild{}, err
	}
	key := fmt.Sprintf("%s-%.12x", k.Release, sources.sum(all))
	dir, err := cached(filepath.Join("guest", k.Arch, "modules", key), func(dir string) error {
		return sources.build(dir, all)
	})
	if err != nil {
		return ModuleBuild{}, fmt.Errorf("modules for %s/%s: %w", k.Arch, k.Release, err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "build.log"))
	if err != nil {
		return ModuleBuild{}, err
	}
	files, err := modulesIn(dir)
	return ModuleBuild{files, string(log)}, err
}

// modulesIn returns the modules below a directory.
func modulesIn(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".ko" {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("modules in %s: %w", dir, fs.ErrNotExist)
	}
	return files, err
}

// makeArguments returns make's arguments, but the directory.
func (k Kernel) makeArguments(more []string) ([]string, error) {
	// Type information would need one more program, and nobody here reads it.
	args := []string{"-C", k.Build, "ARCH=" + kernelArchs[k.Arch], "CONFIG_DEBUG_INFO_BTF_MODULES="}
	compiler := "gcc-12" // what Debian's kernels are compiled with
	if k.Arch != runtime.GOARCH {
		compiler = crossPrefixes[k.Arch] + "gcc"
		args = append(args, "CROSS_COMPILE="+crossPrefixes[k.Arch])
	}
	if k.Source != "" {
		if k.Arch == runtime.GOARCH {
			compiler = "gcc" // as the kernel itself
		}
		args = append(args, "KCFLAGS=-Wframe-larger-than=2048") // what watches the stack makes it larger
	}
	if _, err := exec.LookPath(compiler); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCompiler, err)
	}
	return append(append(args, "CC="+compiler), more...), nil
}

// moduleSources are the files of a build by their path in it.
type moduleSources map[string][]byte

// isSource leaves out what builds leave, and what is not C.
func isSource(name string) bool {
	switch filepath.Ext(name) {
	case ".c", ".h", ".S":
		return !strings.HasSuffix(name, ".mod.c")
	}
	return name == "Kbuild" || name == "Makefile"
}

func readSources(trees map[string]string) (moduleSources, error) {
	s := moduleSources{}
	var objects []string
	for name, dir := range trees {
		objects = append(objects, name+"/")
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || !isSource(entry.Name()) {
				return err
			}
			inside, err := filepath.Rel(dir, path)
			if err == nil {
				s[filepath.Join(name, inside)], err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(objects)
	s["Kbuild"] = []byte("obj-m := " + strings.Join(objects, " ") + "\n")
	return s, nil
}

// sum identifies the content and the arguments.
func (s moduleSources) sum(args []string) []byte {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", args)
	for _, name := range s.names() {
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(s[name]))
	}
	return sum.Sum(nil)
}

func (s moduleSources) names() (names []string) {
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// build writes the files below dir, calls make, and keeps what it says in build.log.
func (s moduleSources) build(dir string, args []string) error {
	for name, content := range s {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			return err
		}
	}
	log, err := output(exec.Command("make", append(slices.Clone(args), "M="+dir, "modules")...))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "build.log"), []byte(log), 0o644)
}
