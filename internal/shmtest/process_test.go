package shmtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main(m, map[string]func() error{
		"echo": func() error {
			for {
				fmt.Println(Listen())
			}
		},
		"fail": func() error { return errors.New("broken") },
	})
}

func TestProcess(t *testing.T) {
	p := Start(t, "echo")
	if got := p.Ask("one two"); got != "one two" || p.Ended() || p.Heard() != "" {
		t.Errorf("answer %q", got)
	}
	p.Tell("three")
	p.Want("three")
	p.Kill()
	p.Kill()
	if !p.Ended() || !p.Killed() {
		t.Errorf("ended: %t, %v", p.Ended(), p.Wait())
	}

	failing := Start(t, "fail")
	if state := failing.Wait(); state.ExitCode() != 1 || failing.Said() != "broken" || failing.Killed() {
		t.Errorf("%v, said %q", state, failing.Said())
	}
}

// TestOrphan: a process ends when nobody is left to tell it what to do.
func TestOrphan(t *testing.T) {
	p := Start(t, "echo")
	p.Ask("hello")
	p.stdin.Close()
	p.Succeed()
}

// TestDump: what a process does is seen, even when it is stopped.
func TestDump(t *testing.T) {
	p := Start(t, "echo")
	p.Ask("hello")
	p.Signal(syscall.SIGSTOP)
	begin := time.Now()
	if text := p.Dump(); !strings.Contains(text, "goroutine") || !strings.Contains(text, "shmtest.Main") {
		t.Errorf("dump after %v: %s", time.Since(begin), text)
	}
}

func TestCrashPoints(t *testing.T) {
	points := CrashPoints(t, "../../heap")
	if !slices.Contains(points, "heap.create.after-name") || slices.Contains(points, "") {
		t.Errorf("points %q", points)
	}
}
