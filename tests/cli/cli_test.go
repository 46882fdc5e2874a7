package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod"
	"github.com/shmheap/shmheap/kmod/arena"
)

// program is the directory that the tests build shmheap in.
var program string

// suite builds the command before the tests run.
type suite struct{ *testing.M }

// Run implements testscript.TestingM.
func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "shmheap-cli-")
	if err == nil {
		program = dir
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return s.M.Run()
}

func build(dir string) error {
	cmd := exec.Command("go", "build", "-o", dir, "github.com/shmheap/shmheap/cmd/shmheap")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build shmheap: %w\n%s", err, out)
	}
	return nil
}

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"hold": hold, "churn": churn})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", program+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("SHMHEAP_DIR", filepath.Join(env.WorkDir, "heaps"))
			env.Setenv("GOROOT", goroot())
			env.Setenv("GID", strconv.Itoa(os.Getgid()))
			address, err := freeAddress()
			env.Setenv("ADDRESS", address)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  status,
			"peers":   peers,
			"appears": appears,
			"answers": answers,
			"damage":  damage,
			"schema":  schema,
			"gone":    gone,
			"empty":   empty,
			"full":    full,
		},
		Condition:           condition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// condition says whether there can be BPF arenas, [arena], or whether the kernel module is inserted, [module].
// tests/kernel sees to it that there are arenas where they are promised.
func condition(name string) (bool, error) {
	switch name {
	case "arena":
	case "module":
		_, err := os.Stat(kmod.DevicePath)
		return err == nil, nil
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	h, err := heap.CreateAnonymous(&heap.Options{Size: 4 << 20, MaxCaches: 16, Kernel: arena.New(nil)})
	if err != nil {
		return false, nil
	}
	return true, h.Close()
}

// goroot returns where the sources of Go are, or "".
func goroot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return string(out[:len(out)-1])
}

// status runs a command and requires its exit status: status N PROGRAM ARGS...
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// full requires that a command whose output does not fit on the disk fails and says so: full PROGRAM ARGS...
func full(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: full PROGRAM ARGS...")
	}
	out, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	ts.Check(err)
	defer out.Close()
	var said strings.Builder
	cmd := exec.Command(filepath.Join(program, args[0]), args[1:]...)
	cmd.Env = append(os.Environ(), "SHMHEAP_DIR="+ts.Getenv("SHMHEAP_DIR"))
	cmd.Stdout, cmd.Stderr = out, &said
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "no space left") {
		ts.Fatalf("%v: %s", err, said.String())
	}
}

// empty requires that a directory has nothing in it: empty DIR
func empty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	ts.Check(err)
	for _, e := range entries {
		ts.Logf("%s", e.Name())
	}
	if len(entries) > 0 {
		ts.Fatalf("%s is not empty", args[0])
	}
}
