package lab

import (
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/internal/guest"
)

// Build builds the modules of source trees, name and directory, for the guest. The compiler must not warn.
func (l *Lab) Build(trees map[string]string, args ...string) {
	l.t.Helper()
	built, err := l.Kernel.Modules(trees, args...)
	Must(l.t, err)
	if w := built.Warnings(); len(w) > 0 {
		l.t.Errorf("the compiler warns:\n%s", strings.Join(w, "\n"))
	}
	for _, file := range built.Files {
		name := strings.TrimSuffix(filepath.Base(file), ".ko")
		l.modules = append(l.modules, name)
		l.Add(guest.File{Path: guest.ModulePath(name), Host: file})
	}
}

// Insert adds the step that inserts a module: one that was built, or one of the kernel's own, which may be part of it.
func (l *Lab) Insert(name string, parameters ...string) {
	l.t.Helper()
	if !l.has(guest.ModulePath(name)) {
		file, err := l.Kernel.Module(name)
		Must(l.t, err)
		if file == nil {
			return
		}
		l.Add(*file)
	}
	l.add(step{Step: guest.Insert(name, parameters...)})
}

// Remove adds the steps that remove modules.
func (l *Lab) Remove(names ...string) {
	for _, name := range names {
		l.add(step{Step: guest.Remove(name)})
	}
}

// Plant adds the steps that insert a module with a bug, of which the kernel must complain like this, a regular
// expression, and that remove it.
func (l *Lab) Plant(module, bug, complaint string) {
	insert, remove := guest.Insert(module, "bug="+bug), guest.Remove(module)
	insert.Name, remove.Name = "plant-"+bug, "unplant-"+bug
	l.add(step{Step: insert, planted: complaint})
	l.add(step{Step: remove})
}

// Forget adds the step that makes kmemleak forget what it knows of.
func (l *Lab) Forget() { l.add(step{Step: tool("forget")}) }

// Leaks adds the step that asks kmemleak, which must know of nothing that the modules have lost.
func (l *Lab) Leaks() {
	l.add(step{Step: tool("leaks"), judge: func(s guest.StepResult) []string { return guest.Leaks(s.Output, l.modules) }})
}

// PlantLeak is Plant for a bug that loses an object, which kmemleak must find.
func (l *Lab) PlantLeak(module, bug string) {
	l.Plant(module, bug, "")
	l.add(step{Step: tool("leaks"), planted: "new suspected memory leaks", judge: func(s guest.StepResult) []string {
		if len(guest.Leaks(s.Output, []string{module})) == 0 {
			return []string{"the planted leak was not found:\n" + s.Output}
		}
		return nil
	}})
}

func tool(name string) guest.Step { return guest.Step{Name: name, Args: []string{guest.Tool, name}} }
