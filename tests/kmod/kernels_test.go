package kmod

import "github.com/shmheap/shmheap/internal/guest"

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

// plantAll adds the steps of all bugs that the kernel must find.
func (l *lab) plantAll(name string) {
	for _, d := range detectors[name] {
		l.plant(d.bug)
	}
	if name == "kasan" {
		l.plant("leak")
		l.step("plant-leaks", guest.Tool, "leaks")
	}
}

// wantAlive fails the test unless all of them were found.
func (l *lab) wantAlive(r *guest.Result, name string) {
	l.t.Helper()
	for _, d := range detectors[name] {
		l.wantFound(r, d.bug, d.complaint)
	}
	if name == "kasan" {
		s, _ := r.Step("plant-leaks")
		if leaks := guest.Leaks(s.Output, []string{"planted"}); len(leaks) == 0 {
			l.t.Errorf("the planted leak was not found:\n%s", s.Output)
		}
	}
}
