package kmod

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
	"github.com/shmheap/shmheap/internal/guest/lab"
)

// kernels of Debian that everything runs in, with what is special about the machine.
var kernels = []struct{ name, arch, series, append string }{
	{"6.12", "amd64", "6.12", ""},
	{"6.1-4level", "amd64", "6.1", "no5lvl"},
	{"6.1", "amd64", "6.1", ""},
	{"6.12-4level", "amd64", "6.12", "no5lvl"},
	{"6.12-arm64", "arm64", "6.12", ""},
	{"6.1-arm64", "arm64", "6.1", ""},
	{"6.12-arm64-16k", "arm64", "6.12-16k", ""},
}

// sources are the modules that go into every machine.
var sources = map[string]string{
	"kmod": lab.Root + "/kmod", "partner": "testdata/partner", "planted": "testdata/planted",
}

// detectors are what each kernel that watches itself must find: a planted bug, and how the kernel tells. Lockdep
// comes first, as it stops watching once something else has been found.
var detectors = map[string][]struct{ bug, complaint string }{
	"kasan": {
		{"lock", "possible circular locking dependency"}, {"sleep", "BUG: sleeping function called from invalid context"},
		{"shift", "UBSAN: shift-out-of-bounds"}, {"bounds", "BUG: KASAN: slab-out-of-bounds in plant_bounds"},
		{"freed", "BUG: KASAN: slab-use-after-free in plant_freed"}, {"warn", "WARNING: .*plant_warn"},
	},
	"kcsan": {{"race", `BUG: KCSAN: data-race in racer \[planted\]`}, {"warn", "WARNING: .*plant_warn"}},
	"6.18":  {{"warn", "WARNING: .*plant_warn"}},
	"":      {{"warn", "WARNING: .*plant_warn"}},
}

// TestDebian runs everything in kernels as they come.
func TestDebian(t *testing.T) {
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			l := lab.Debian(t, k.arch, k.series)
			l.Guest.Append = k.append
			everything(t, l, "")
		})
	}
}

// TestNewest runs everything in the newest series that is promised, of which Debian 12 has no packages.
func TestNewest(t *testing.T) { everything(t, lab.Debug(t, "6.18"), "6.18") }

// TestLargePages runs everything in a kernel with pages of 64 KiB.
func TestLargePages(t *testing.T) { everything(t, lab.LargePages(t), "") }

// TestKASAN runs everything in a kernel that watches memory, locks and leaks.
func TestKASAN(t *testing.T) {
	l := lab.Debug(t, "kasan")
	l.Guest.Append = "kasan_multi_shot" // it would report the first one only
	everything(t, l, "kasan")
}

// TestKCSAN runs everything in a kernel that watches for data races.
func TestKCSAN(t *testing.T) { everything(t, lab.Debug(t, "kcsan"), "kcsan") }

// everything inserts the modules, runs all tests inside, removes the modules, and then plants bugs for the
// detectors of the kernel, by name, to find.
func everything(t *testing.T, l *lab.Lab, name string) {
	l.Build(sources)
	program := l.Program("shmheap", "cmd/shmheap")
	if name == "kasan" {
		l.Forget()
	}
	if l.Kernel.Arch == runtime.GOARCH && l.Guest.Append == "" && name == "" { // one of each series is enough
		command(t, l, program)
	}
	l.Insert("shmheap")
	l.Insert("partner")
	l.Test("kmod", lab.Tests{}) // with its examples
	l.Test(inside, lab.Tests{Env: effort()})
	l.Remove("partner")
	l.Test(inside, lab.Tests{Name: "unload", Args: []string{"-test.run=^TestUnload$"}, Env: []string{"KMOD_UNLOAD=1"}})
	if l.Guest.Append != "no5lvl" { // they have nothing to do with page tables
		samples(l)
	}
	if name != "" {
		l.Insert("shmheap")
		l.Insert("shmheap_kunit")
		l.Remove("shmheap_kunit", "shmheap")
	}
	if name == "kasan" {
		l.Leaks()
	}
	for _, d := range detectors[name] {
		l.Plant("planted", d.bug, d.complaint)
	}
	if name == "kasan" {
		l.PlantLeak("planted", "leak")
	}
	r := l.Run()
	if name != "" {
		wantKUnit(t, r)
	}
}

// inside are the tests that need the partner, or no module at all.
const inside = "tests/kmod/inside"

// samples adds the steps that try the sample modules, and first what needs none of them: a register that is mapped
// through sysfs.
func samples(l *lab.Lab) {
	l.Guest.Devices = []string{"edu"}
	test := func(name, pattern string) {
		l.Test("tests/kmod/samples", lab.Tests{Name: name, All: true, Args: []string{"-test.run=" + pattern}, Env: append(effort(), "SHMHEAP_SAMPLES=1")})
	}
	test("register", "^Test(Register|Atomics|Shared|Unlocked)")
	l.Insert("veth")
	l.Insert("shmheap")
	for _, name := range []string{"echo", "slab", "regs", "qdisc"} {
		l.Insert("sample_" + name)
		test(name, "(?i)^Test"+name)
		l.Remove("sample_" + name)
	}
	l.Remove("shmheap")
}

// effort is what the environment of the tests inside says of how long they go on: for each change, not long.
func effort() []string {
	if os.Getenv("SHMHEAP_KMOD") == "full" {
		return []string{"KMOD_HOSTILE=90", "KMOD_KILLS=150", "KMOD_NUMBERS=20000"}
	}
	return nil
}

// command has the command, which is the program, build the module, and adds the step that tries both. No module may be
// inserted then.
func command(t *testing.T, l *lab.Lab, program string) {
	t.Helper()
	const there = "/command/shmheap.ko"
	built := filepath.Join(t.TempDir(), "built.ko")
	cmd := exec.Command(program, "kmod", "build", "--kernel", l.Kernel.Build, "-o", built, "--", "CC=gcc-12")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != built+"\n" {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	l.Add(guest.File{Path: there, Host: built})
	l.Test(inside, lab.Tests{
		Name: "command", Args: []string{"-test.run=^TestCommand$"},
		Env: []string{"KMOD_COMMAND=" + path.Join(lab.Programs, "shmheap"), "KMOD_BUILT=" + there},
	})
}

// verdicts are the lines with which KUnit ends a case or a suite.
var verdicts = regexp.MustCompile(`^\s*(ok|not ok) \d+`)

// wantKUnit fails the test unless the cases that the module brings for KUnit passed.
func wantKUnit(t *testing.T, r *guest.Result) {
	t.Helper()
	s, _ := r.Step("insert-shmheap_kunit")
	passed := 0
	for _, line := range s.Kernel {
		switch m := verdicts.FindStringSubmatch(line); {
		case m == nil:
		case m[1] == "ok":
			passed++
		default:
			t.Errorf("KUnit says: %s", line)
		}
	}
	if passed == 0 {
		t.Errorf("KUnit has run nothing:\n%s", strings.Join(s.Kernel, "\n"))
	}
}
