package launch

import (
	"bytes"
	"io"
	"os"
)

// What the kernel reads of a script (BINPRM_BUF_SIZE), and how many interpreters may follow each other
// (fs/exec.c, exec_binprm).
const (
	maxFirstLine    = 256
	maxInterpreters = 5
)

// executed returns the file whose rights the program gets: the interpreter of a script, the interpreter
// of that where it is a script too, and else the file itself. Rights of a script count for nothing.
func executed(path string) string {
	for range maxInterpreters {
		interpreter := interpreterOf(path)
		if interpreter == "" {
			break
		}
		path = interpreter
	}
	return path
}

// interpreterOf returns the path behind the #! of a script, as the kernel finds it (fs/binfmt_script.c), or
// "" for what is none or cannot be read: of that exec will say so.
func interpreterOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, maxFirstLine)
	n, err := io.ReadFull(f, head)
	if err != nil && n == 0 {
		return ""
	}
	line, ok := bytes.CutPrefix(head[:n], []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	line = bytes.TrimLeft(line, " \t")
	if end := bytes.IndexAny(line, " \t\x00"); end >= 0 {
		line = line[:end]
	}
	return string(line)
}
