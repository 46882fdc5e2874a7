package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const frame = `package main

import (
	"fmt"
	"log"
	"os"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
)

func main() {
	if len(os.Args) > 1 {
		read()
		return
	}
PROGRAM
	fmt.Println("stored")
}

type stored struct {
	Next  *stored
	Price int64
	Item  alloc.String
}

func read() {
	h, err := heap.Open("orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		log.Fatal(err)
	}
	o, err := alloc.LoadRoot[stored](a, "latest")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.Item.String(), o.Price, o.Next)
}
`

// TestProgram runs the README's program, and then another process that reads what it stored.
func TestProgram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, found := strings.Cut(string(readme), "```go\n")
	program, _, closed := strings.Cut(program, "```")
	if !found || !closed {
		t.Fatal("the README has no program")
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "orders")
	if err := os.WriteFile(source, []byte(strings.Replace(frame, "PROGRAM", program, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "go", "build", "-o", binary, source)
	env := append(os.Environ(), "SHMHEAP_DIR="+filepath.Join(dir, "heaps"))
	if got := run(t, env, binary); got != "stored\n" {
		t.Errorf("the program prints %q", got)
	}
	if got := run(t, env, binary, "read"); got != "apples 42 <nil>\n" {
		t.Errorf("the reader prints %q", got)
	}
}

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
