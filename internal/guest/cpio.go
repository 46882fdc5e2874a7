package guest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// File is a file of the guest. One of Host, Link and Data says what it is.
type File struct {
	Path string // absolute, in the guest
	Host string // a file of this machine to copy, with its mode
	Link string // where a symlink leads
	Data []byte // content, with mode 0755
}

// Types and numbers of the format (man 5 cpio, "new ASCII format").
const (
	typeRegular   = 0o100000
	typeDirectory = 0o040000
	typeLink      = 0o120000
	typeCharacter = 0o020000
	trailer       = "TRAILER!!!"
)

// archive writes an initramfs: the "newc" format of cpio, as the kernel reads it.
type archive struct {
	w     io.Writer
	inode int
	size  int64 // written so far
}

// writeInitramfs writes files with all directories above them, and the console, which the kernel opens
// for the first process before anything is mounted.
func writeInitramfs(w io.Writer, files []File) error {
	a := &archive{w: w}
	for _, dir := range directoriesOf(files) {
		if err := a.add(dir, typeDirectory|0o755, 0, 0, strings.NewReader("")); err != nil {
			return err
		}
	}
	const consoleMajor, consoleMinor = 5, 1
	if err := a.add("dev/console", typeCharacter|0o600, consoleMajor<<8|consoleMinor, 0, strings.NewReader("")); err != nil {
		return err
	}
	for _, f := range files {
		if err := a.addFile(f); err != nil {
			return fmt.Errorf("put %s into the initramfs: %w", f.Path, err)
		}
	}
	return a.add(trailer, 0, 0, 0, strings.NewReader(""))
}

// directoriesOf returns the directories that must be there, parents first.
func directoriesOf(files []File) []string {
	all := map[string]bool{}
	for _, p := range []string{"dev/shm", "proc", "sys", "tmp", "etc"} {
		all[p], all[path.Dir(p)] = true, true
	}
	for _, f := range files {
		for dir := path.Dir(strings.TrimPrefix(f.Path, "/")); dir != "."; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	delete(all, ".")
	return slices.Sorted(maps.Keys(all))
}

func (a *archive) addFile(f File) error {
	name := strings.TrimPrefix(f.Path, "/")
	switch {
	case f.Link != "":
		return a.add(name, typeLink|0o777, 0, int64(len(f.Link)), strings.NewReader(f.Link))
	case f.Host == "":
		return a.add(name, typeRegular|0o755, 0, int64(len(f.Data)), strings.NewReader(string(f.Data)))
	}
	host, err := os.Open(f.Host)
	if err != nil {
		return err
	}
	defer host.Close()
	info, err := host.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", f.Host, fs.ErrInvalid)
	}
	return a.add(name, typeRegular|int(info.Mode().Perm()), 0, info.Size(), host)
}

// add writes one entry: a header of hexadecimal numbers, the name with a zero, the content; name and
// content are each filled up to a multiple of four.
func (a *archive) add(name string, mode, device int, size int64, content io.Reader) error {
	a.inode++
	links := 1
	fields := []int64{int64(a.inode), int64(mode), 0, 0, int64(links), 0, size, 0, 0,
		int64(device >> 8), int64(device & 0xff), int64(len(name) + 1), 0}
	header := "070701"
	for _, f := range fields {
		header += fmt.Sprintf("%08x", f)
	}
	if err := a.write(strings.NewReader(header + name + "\x00")); err != nil {
		return err
	}
	before := a.size
	if err := a.write(content); err != nil {
		return err
	}
	if written := a.size - before; written < size || written >= size+4 {
		return fmt.Errorf("content has %d bytes, want %d: %w", written, size, io.ErrUnexpectedEOF)
	}
	return nil
}

// write copies r and fills up.
func (a *archive) write(r io.Reader) error {
	n, err := io.Copy(a.w, r)
	a.size += n
	if err != nil {
		return err
	}
	fill, err := a.w.Write(make([]byte, -a.size&3))
	a.size += int64(fill)
	return err
}
