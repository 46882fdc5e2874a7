package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/internal/sys"
)

// Programs to survey. They write their process ids into the directory of directoryVariable.
func init() {
	children["idle"] = idle
	children["busy"] = func() error {
		for os.Getppid() != 0 { // always
		}
		return nil
	}
	children["short"] = func() error {
		fmt.Fprintln(os.Stderr, "nothing to do")
		return nil
	}
	children["parent"] = func() error {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childVariable+"=idle")
		child.Stdin = os.Stdin
		if err := child.Start(); err != nil {
			return err
		}
		return idle()
	}
}

const directoryVariable = "PROBE_TEST_DIRECTORY"

// idle waits until its standard input ends, which it does not before the process is killed.
func idle() error {
	file := filepath.Join(os.Getenv(directoryVariable), strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return err
	}
	_, err := os.Stdin.Read(make([]byte, 1))
	return err
}

// surveyChild surveys a program of this file and returns the ids of all processes that there were.
func surveyChild(t *testing.T, ctx context.Context, name string, opts *SurveyOptions) (*Profile, []int, error) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(childVariable, name)
	t.Setenv(directoryVariable, dir)
	p, err := Survey(ctx, []string{os.Args[0]}, opts)
	entries, errDir := os.ReadDir(dir)
	if errDir != nil {
		t.Fatal(errDir)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return p, pids, err
}

// wantGone waits until the processes, killed but perhaps not ours to wait for, are gone.
func wantGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		shmtest.Until(t, fmt.Sprintf("process %d is gone", pid), func() bool {
			_, err := Of(pid)
			return errors.Is(err, ErrNoProcess)
		})
	}
}

func TestSurvey(t *testing.T) {
	var seen []int
	opts := &SurveyOptions{Runs: 5, Progress: func(done int) { seen = append(seen, done) }}
	p, pids, err := surveyChild(t, t.Context(), "idle", opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Runs) != 5 || len(pids) != 5 || !slices.Equal(seen, []int{1, 2, 3, 4, 5}) || p.Ended != 0 {
		t.Errorf("%d runs of %d processes, progress %v, %d ended", len(p.Runs), len(pids), seen, p.Ended)
	}
	if !slices.ContainsFunc(p.Occupied, func(o Occupied) bool { return slices.Contains(o.Names, os.Args[0]) }) {
		t.Errorf("%s is not in %v", os.Args[0], p.Occupied)
	}
	if p.Settings != CurrentSettings() || p.Made.IsZero() || p.Program[0] != os.Args[0] {
		t.Errorf("%+v", p)
	}
	wantGone(t, pids)
}

// The descendants are looked at, and killed, too.
func TestSurveyOfFamily(t *testing.T) {
	p, pids, err := surveyChild(t, t.Context(), "parent", &SurveyOptions{Runs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(pids) != 4 {
		t.Errorf("%d processes were waited for, want 4", len(pids))
	}
	for _, run := range p.Runs {
		stacks := 0
		for _, r := range run {
			if r.Start > 0x7ff0_0000_0000 {
				stacks++
			}
		}
		if stacks < 2 && addressBits() == 47 {
			t.Errorf("one process alone in %v", run)
		}
	}
	wantGone(t, pids)
}

func TestSurveyOfBusyProgram(t *testing.T) {
	p, _, err := surveyChild(t, t.Context(), "busy", &SurveyOptions{Runs: 2, Limit: 200 * time.Millisecond})
	if err != nil || p.Unsettled != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSurveyOfShortProgram(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would wait for a second, quietly
	_, _, err := surveyChild(t, t.Context(), "short", &SurveyOptions{Runs: 20})
	if !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "nothing to do") {
		t.Errorf("%v", err)
	}
}

func TestSurveyOfNothing(t *testing.T) {
	if _, err := Survey(t.Context(), nil, nil); err == nil {
		t.Error("no program: no error")
	}
	if _, err := Survey(t.Context(), []string{filepath.Join(t.TempDir(), "missing")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestSurveyIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, pids, err := surveyChild(t, ctx, "idle", &SurveyOptions{Runs: 100, Parallel: 3, Progress: func(int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	wantGone(t, pids)
}

func TestReadTreeOfNobody(t *testing.T) {
	if _, err := readTree(1 << 30); !errors.Is(err, ErrNoProcess) {
		t.Errorf("%v", err)
	}
}

func TestChildren(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=idle", directoryVariable+"="+t.TempDir())
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	children, err := sys.ChildrenOf(os.Getpid())
	if err != nil || !slices.Contains(children, cmd.Process.Pid) {
		t.Errorf("%v, %v, want %d among them", children, err, cmd.Process.Pid)
	}
}

// TestSurveyAbandons: a program that may not be killed ends the survey with an error, not its wait.
func TestSurveyAbandons(t *testing.T) {
	for name, want := range map[string]string{"idle": "became privileged: ", "busy": "still runs: "} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(childVariable, name)
			t.Setenv(directoryVariable, t.TempDir())
			r, err := start([]string{os.Args[0]})
			if err != nil {
				t.Fatal(err)
			}
			defer runtime.UnlockOSThread()
			defer func() { _ = r.cmd.Process.Kill() }() // the one that has ended is no error
			err = r.abandon(os.ErrPermission)
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}
