package cli

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/shmheap/shmheap/heap"
)

// patience is how long a command waits for something that must happen.
const patience = 30 * time.Second

// until polls a condition, and fails the script if it does not come true.
func until(ts *testscript.TestScript, what string, condition func() bool) {
	for end := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// peers waits until exactly N processes are attached to the heap whose name
// has this prefix: peers PREFIX N
func peers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: peers PREFIX N")
	}
	dir := ts.Getenv("SHMHEAP_DIR")
	until(ts, "peers "+strings.Join(args, " "), func() bool {
		infos, err := heap.List(&heap.Options{Dir: dir})
		ts.Check(err)
		return slices.ContainsFunc(infos, func(i heap.Info) bool {
			return strings.HasPrefix(i.Name, args[0]) && strconv.Itoa(i.Peers) == args[1]
		})
	})
}

// appears waits until a file exists: appears FILE
func appears(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: appears FILE")
	}
	until(ts, "appears "+args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

// answers waits until there is an answer to HTTP, whatever it says: answers ADDRESS
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: answers ADDRESS")
	}
	until(ts, "answers "+args[0], func() bool {
		r, err := http.Get("http://" + args[0])
		return err == nil && r.Body.Close() == nil
	})
}

// freeAddress returns a port of this machine that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// damage inverts 8 bytes of a file: damage FILE OFFSET
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE OFFSET")
	}
	off, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	b := make([]byte, 8)
	_, err = f.ReadAt(b, off)
	ts.Check(err)
	for i := range b {
		b[i] = ^b[i]
	}
	_, err = f.WriteAt(b, off)
	ts.Check(err)
}

// schema writes the shape of one JSON value, a line for each member:
// schema stdout OUTPUT
func schema(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: schema FILE OUTPUT")
	}
	var v any
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(decoder.Decode(&v))
	if decoder.More() {
		ts.Fatalf("more than one JSON value")
	}
	lines := shape("", v)
	slices.Sort(lines)
	text := strings.Join(slices.Compact(lines), "\n") + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}

// shape returns "path kind" for v and everything in it.
func shape(path string, v any) []string {
	switch v := v.(type) {
	case map[string]any:
		lines := []string{}
		for key, member := range v {
			lines = append(lines, shape(path+"."+key, member)...)
		}
		return lines
	case []any:
		lines := []string{path + "[]"}
		for _, element := range v {
			lines = append(lines, shape(path+"[]", element)...)
		}
		return lines
	case nil:
		return []string{path + " null"}
	default:
		kinds := map[string]string{"string": "string", "float64": "number", "bool": "bool"}
		return []string{path + " " + kinds[fmt.Sprintf("%T", v)]}
	}
}

// gone waits until no process is left that has TEXT in its command line:
// gone TEXT
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone TEXT")
	}
	until(ts, "gone "+args[0], func() bool { return !runs(ts, args[0]) })
}

// runs reports whether a process has the text in its command line.
func runs(ts *testscript.TestScript, text string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	if len(files) == 0 {
		out, err := exec.Command("ps", "-axww", "-o", "args").Output()
		ts.Check(err)
		return strings.Contains(string(out), text)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		line, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(line), text)
	})
}
