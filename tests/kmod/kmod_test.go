package kmod

import (
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/guest"
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
	"kmod": root + "/kmod", "partner": "testdata/partner", "planted": "testdata/planted",
}

// TestDebian runs everything in kernels as they come.
func TestDebian(t *testing.T) {
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			l := newLab(t, debian(t, k.arch, k.series))
			l.guest.Append = k.append
			if k.arch == runtime.GOARCH && k.series == "6.12" && k.append == "" { // one is enough
				l.command()
			}
			l.everything("")
		})
	}
}

// TestNewest runs everything in the newest series that is promised, of which Debian 12 has no packages.
func TestNewest(t *testing.T) { newLab(t, debug(t, "6.18")).everything("6.18") }

// TestKASAN runs everything in a kernel that watches memory, locks and leaks.
func TestKASAN(t *testing.T) { newLab(t, debug(t, "kasan")).everything("kasan") }

// TestKCSAN runs everything in a kernel that watches for data races.
func TestKCSAN(t *testing.T) { newLab(t, debug(t, "kcsan")).everything("kcsan") }

// everything inserts the modules, runs all tests inside, removes the modules, and then plants bugs for the
// detectors of the kernel, by name, to find.
func (l *lab) everything(name string) {
	l.build(sources)
	if name == "kasan" {
		l.guest.Append = "kasan_multi_shot" // it would report the first one only
		l.step("forget", guest.Tool, "forget")
	}
	l.insert("shmheap")
	l.insert("partner")
	l.tests("kmod") // with its examples
	l.tests("tests/kmod/inside", effort()...)
	l.remove("partner")
	l.again("tests/kmod/inside", "unload", "^TestUnload$", "KMOD_UNLOAD=1")
	l.insert("shmheap")
	l.remove("shmheap")
	if name != "" {
		l.insert("shmheap")
		l.insert("shmheap_kunit")
		l.remove("shmheap_kunit")
		l.remove("shmheap")
	}
	if name == "kasan" {
		l.step("leaks", guest.Tool, "leaks")
	}
	l.plantAll(name)
	r := l.run()
	l.quiet(r)
	l.wantAlive(r, name)
	if name != "" {
		l.wantKUnit(r)
	}
}

// effort is what the environment of the tests inside says of how long they go on: for each change, not long.
func effort() []string {
	if os.Getenv("SHMHEAP_KMOD") == "full" {
		return []string{"KMOD_HOSTILE=90", "KMOD_KILLS=150", "KMOD_NUMBERS=20000"}
	}
	return nil
}

// verdicts are the lines with which KUnit ends a case or a suite.
var verdicts = regexp.MustCompile(`^\s*(ok|not ok) \d+`)

// wantKUnit fails the test unless the cases that the module brings for KUnit passed.
func (l *lab) wantKUnit(r *guest.Result) {
	l.t.Helper()
	s, _ := r.Step("insert-shmheap_kunit")
	passed := 0
	for _, line := range s.Kernel {
		switch m := verdicts.FindStringSubmatch(line); {
		case m == nil:
		case m[1] == "ok":
			passed++
		default:
			l.t.Errorf("KUnit says: %s", line)
		}
	}
	if passed == 0 {
		l.t.Errorf("KUnit has run nothing:\n%s", strings.Join(s.Kernel, "\n"))
	}
}
