package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Kernel is a kernel to boot and to build modules for.
type Kernel struct {
	Arch    string // amd64 or arm64
	Release string // as uname -r shows it
	Image   string // for Guest.Kernel
	Build   string // what modules are built against: make -C Build M=...
	Root    string // where its packages are unpacked; "" where it was built here
	Source  string // where its sources are, for what is not in the headers; "" where they are not
}

// metas are Debian's packages that depend on the newest kernel of a series. The one that Debian 12 came
// with has no number in its name.
var metas = map[string]string{
	"6.1": "linux-image-cloud-ARCH", "6.12": "linux-image-6.12-cloud-ARCH", "6.12-16k": "linux-image-6.12-ARCH-16k",
}

// Debian returns a kernel of Debian with its headers: for virtual machines, of series 6.1 or 6.12; or, for
// arm64, 6.12-16k, which has pages of 16 KiB. It is fetched when the cache has none.
func Debian(arch, series string) (Kernel, error) {
	meta, ok := metas[series]
	if !ok {
		return Kernel{}, fmt.Errorf("kernel %s for %s: %w", series, arch, errors.ErrUnsupported)
	}
	root, err := cached(filepath.Join("guest", arch, "kernel-"+series+"-with-headers"), func(dir string) error {
		return fetchKernel(dir, arch, strings.ReplaceAll(meta, "ARCH", arch))
	})
	if err == nil {
		var k Kernel
		if k, err = kernelIn(root, arch); err == nil {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("kernel %s for %s: %w", series, arch, err)
}

// fetchKernel unpacks an image, its headers, and the programs of this machine that the headers' makefiles
// call. All of them at once, as the archive keeps the last few versions only.
func fetchKernel(dir, arch, meta string) error {
	a, err := newApt(arch)
	if err != nil {
		return err
	}
	image, err := a.dependency(meta, "linux-image-")
	if err != nil {
		return err
	}
	headers := "linux-headers-" + strings.TrimPrefix(image, "linux-image-")
	common, err := a.dependency(headers, "linux-headers-")
	if err != nil {
		return err
	}
	kbuild, err := a.dependency(headers, "linux-kbuild-")
	if err != nil {
		return err
	}
	if err := a.unpack(dir, image, headers, common); err != nil {
		return err
	}
	here, err := newApt(runtime.GOARCH)
	if err != nil {
		return err
	}
	if err := here.unpack(dir, kbuild); err != nil {
		return err
	}
	return relocate(dir, filepath.Join(dir, "usr", "src", headers))
}

// relocate makes headers work where they are unpacked: their makefile names others by an absolute path.
func relocate(root, headers string) error {
	makefile := filepath.Join(headers, "Makefile")
	text, err := os.ReadFile(makefile)
	if err != nil {
		return err
	}
	moved := strings.ReplaceAll(string(text), "/usr/src/", filepath.Join(root, "usr", "src")+"/")
	return os.WriteFile(makefile, []byte(moved), 0o644)
}

// kernelIn describes the kernel whose packages are unpacked in root.
func kernelIn(root, arch string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("kernels in %s: %v, want one: %w", root, images, errors.Join(err, fs.ErrNotExist))
	}
	_, release, _ := strings.Cut(filepath.Base(images[0]), "-")
	return Kernel{
		Arch: arch, Release: release, Image: images[0], Root: root,
		Build: filepath.Join(root, "usr", "src", "linux-headers-"+release),
	}, nil
}

// Module returns a module that came with the kernel, such as veth, as a file to put into a guest: nil when
// it is part of the kernel itself.
func (k Kernel) Module(name string) (*File, error) {
	if k.Root == "" {
		return nil, nil // those built here have no modules of their own
	}
	var found string
	err := filepath.WalkDir(filepath.Join(k.Root, "lib", "modules", k.Release), func(path string, _ fs.DirEntry, err error) error {
		if base, _, _ := strings.Cut(filepath.Base(path), "."); base == name && strings.Contains(path, ".ko") {
			found = path
			return fs.SkipAll
		}
		return err
	})
	if err != nil || found == "" {
		return nil, err
	}
	if strings.HasSuffix(found, ".xz") { // not every kernel unpacks them itself
		data, err := exec.Command("xz", "-dc", found).Output()
		return &File{Path: ModulePath(name), Data: data}, err
	}
	return &File{Path: ModulePath(name), Host: found}, nil
}

// ModulePath is where a module lies in a guest.
func ModulePath(name string) string { return "/modules/" + name + ".ko" }
