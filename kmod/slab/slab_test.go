package slab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{}, {Size: MinSize - 1}, {Size: MaxSize + 1}, {Size: 64, Align: 3}, {Size: 64, Align: 2 * MaxAlign},
		{Size: 64, Flags: ConsistencyChecks << 1},
	} {
		if _, err := Create(&o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestNoModule: what is missing is said.
func TestNoModule(t *testing.T) {
	want := ErrPlatform
	if runtime.GOOS == "linux" {
		want = ErrNoModule
		if _, err := os.Stat(DevicePath); err == nil {
			shmtest.SkipAnywhere(t, "the module is inserted")
		}
	}
	if _, err := Create(&Options{Size: 64}); !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

const slabinfo = `slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
shmheap_slab-10     1      2     3    4    5 : tunables    0    0    0 : slabdata      6      7      0
shmheap_slab-1   9500  10016    192   16    1 : tunables    0    0    0 : slabdata    626    627      0
broken-1         9500  10016    192   x
`

func TestParseInfo(t *testing.T) {
	got, err := parseInfo(strings.NewReader(slabinfo), "shmheap_slab-1")
	if want := (Info{9500, 10016, 192, 16, 1, 627}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := parseInfo(strings.NewReader(slabinfo), "shmheap_slab-2"); !errors.Is(err, ErrNoCache) {
		t.Errorf("a cache that is not there: %v", err)
	}
	if _, err := parseInfo(strings.NewReader(slabinfo), "broken-1"); err == nil || errors.Is(err, ErrNoCache) {
		t.Errorf("a broken line: %v", err)
	}
}

// TestCompilerAgrees has the C compiler prove that the header says the same.
func TestCompilerAgrees(t *testing.T) {
	if runtime.GOOS != "linux" {
		shmtest.SkipAnywhere(t, "the header is for Linux")
	}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	header, err := filepath.Abs("../uapi/shmheap_slab.h")
	if err != nil {
		t.Fatal(err)
	}
	var proof strings.Builder
	fmt.Fprintf(&proof, "#include %q\n", header)
	for _, n := range numbers() {
		fmt.Fprintf(&proof, "_Static_assert((%s) == %#xull, %q);\n", n.c, n.value, n.c)
	}
	source := filepath.Join(t.TempDir(), "proof.c")
	if err := os.WriteFile(source, []byte(proof.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", source).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
