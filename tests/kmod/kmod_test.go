package kmod

import "testing"

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

// TestDebian runs everything in kernels as they come.
func TestDebian(t *testing.T) {
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			l := newLab(t, debian(t, k.arch, k.series))
			l.guest.Append = k.append
			l.build(map[string]string{"planted": planted})
			l.plantAll("")
			r := l.run()
			l.quiet(r)
			l.wantAlive(r, "")
		})
	}
}

// TestKASAN runs everything in a kernel that watches memory, locks and leaks.
func TestKASAN(t *testing.T) { watched(t, "kasan") }

// TestKCSAN runs everything in a kernel that watches for data races.
func TestKCSAN(t *testing.T) { watched(t, "kcsan") }

func watched(t *testing.T, name string) {
	l := newLab(t, debug(t, name))
	l.build(map[string]string{"planted": planted})
	l.plantAll(name)
	r := l.run()
	l.quiet(r)
	l.wantAlive(r, name)
}
