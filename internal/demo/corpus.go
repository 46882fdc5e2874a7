package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile is the size in bytes of the largest file that is read.
const maxFile = 1 << 20

// corpus is the list of files to index. Which of them are binary only shows
// when they are read.
type corpus struct {
	dir   string   // absolute
	paths []string // relative to dir, ascending
	bytes uint64   // together
}

// listCorpus finds the regular files under dir that are not too large. It
// does not follow links, and leaves out hidden files and folders.
func listCorpus(ctx context.Context, dir string) (*corpus, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	c := &corpus{dir: dir}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.visit(path, e, err)
	})
	if err == nil && len(c.paths) == 0 {
		err = ErrNoFiles
	}
	if err != nil {
		return nil, fmt.Errorf("list the files of %s: %w", dir, err)
	}
	return c, nil
}

// visit is called for each file and folder. What cannot be read is passed
// over, unless it is the folder itself.
func (c *corpus) visit(path string, e fs.DirEntry, err error) error {
	switch {
	case path == c.dir:
		return err
	case strings.HasPrefix(e.Name(), ".") && e.IsDir():
		return fs.SkipDir
	case err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), "."):
		return nil
	}
	info, err := e.Info()
	if err != nil || info.Size() == 0 || info.Size() > maxFile {
		return nil
	}
	rel, err := filepath.Rel(c.dir, path)
	if err != nil {
		return err
	}
	c.paths = append(c.paths, rel)
	c.bytes += uint64(info.Size())
	return nil
}

// readText reads the file at path into buf, which grows as needed, and
// returns its content. A binary file, and one that has grown too large or
// vanished since it was listed, has no text.
func readText(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return buf[:0], nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if buf, err = fill(f, buf[:0]); err != nil {
		return nil, err
	}
	if len(buf) > maxFile || bytes.IndexByte(buf[:min(len(buf), 8000)], 0) >= 0 {
		return buf[:0], nil
	}
	return buf, nil
}

// fill appends r to buf, up to one byte more than maxFile.
func fill(r io.Reader, buf []byte) ([]byte, error) {
	for len(buf) <= maxFile {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, max(len(buf), 64<<10))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxFile+1)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}
