package inside

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod"
)

// shmheap runs the command, requires its exit status, and returns what it prints.
func shmheap(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(os.Getenv("KMOD_COMMAND"), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	got := 0
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != status {
		t.Fatalf("%q: exit status %d, want %d\n%s%s", args, got, status, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// contains requires all parts in a text.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}

// TestCommand inserts the module that the command has built (KMOD_BUILT) by the command (KMOD_COMMAND), and tries it.
// The module must not be inserted before, and is not behind it.
func TestCommand(t *testing.T) {
	built := os.Getenv("KMOD_BUILT")
	if built == "" {
		t.Log("KMOD_BUILT is not set")
		return
	}
	without(t)
	shmheap(t, 1, "kmod", "load", built, "mode=nonsense")
	shmheap(t, 0, "kmod", "load", built, "mode=0640", "quota_mb=256", "max_instances=7")
	t.Cleanup(func() {
		eventually(t, "it can be removed", func() bool { return sys.RemoveModule("shmheap") == nil })
		without(t)
	})
	if info := must[os.FileInfo](t)(os.Stat(kmod.DevicePath)); info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	_, stderr := shmheap(t, 1, "kmod", "load", built)
	contains(t, stderr, "file exists")
	stdout, _ := shmheap(t, 0, "kmod", "status")
	contains(t, stdout, "version ", "region queues control stream copies punch", "up to 1.0 TiB", "0 B of 256 MiB", "0 of 7")
	stdout, _ = shmheap(t, 0, "kmod", "test")
	if want := "ok  names\nok  control words\nok  heap\nok  nothing is left\n"; stdout != want {
		t.Errorf("test prints %q", stdout)
	}
	told(t)
}

// without requires that the command says what is missing.
func without(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"kmod", "status"}, {"kmod", "status", "--json"}, {"kmod", "test"}} {
		stdout, stderr := shmheap(t, 1, args...)
		contains(t, stderr, "shmheap: kernel module shmheap is not inserted", "hint: ")
		if stdout != "" {
			t.Errorf("%q prints %q", args, stdout)
		}
	}
}

// told compares what the command says as JSON with what the module says.
func told(t *testing.T) {
	t.Helper()
	d := device(t)
	i := must[*kmod.Instance](t)(d.Create(newName(), &kmod.InstanceOptions{StreamOrder: 4}))
	defer i.Close()
	stdout, _ := shmheap(t, 0, "kmod", "status", "--json")
	var got struct {
		Version, Instances uint32
		Features           string
		Used, Quota        uint64
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	want := must[kmod.Info](t)(d.Info())
	if got.Version != want.Version || got.Features != want.Features.String() || got.Used != want.Used || got.Used == 0 ||
		got.Quota != 256<<20 || got.Instances != 1 {
		t.Errorf("status says %+v, the module %+v", got, want)
	}
}
