package lock

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// compileKernel compiles the kernel's side of a lock as a program.
func compileKernel(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	program := filepath.Join(t.TempDir(), "kernel")
	out, err := exec.Command(compiler, "-std=gnu11", "-O2", "-Wall", "-Werror", "-Itestdata", "-I../../kmod/include", "-I../../kmod/uapi",
		"-o", program, "testdata/kernel.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// TestKernelSide has the functions that kernel modules use take a lock in turn with processes that are killed at it.
func TestKernelSide(t *testing.T) {
	program := compileKernel(t)
	h, v, dir := newTable(t)
	at := func(p unsafe.Pointer) string { return strconv.FormatUint(uint64(uintptr(p))-h.Base(), 10) }
	kernel := shmtest.StartCommand(t, exec.Command(program, h.Path(), at(unsafe.Pointer(&v.mutex)), at(unsafe.Pointer(&v.pair)), at(unsafe.Pointer(&v.stop))))
	var holders [3]*shmtest.Process
	for i := range holders {
		holders[i] = shmtest.Start(t, "holder", dir, "mutex")
	}
	for range 60 {
		i := rand.IntN(len(holders))
		holders[i].Want("up")
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		holders[i].Kill()
		holders[i] = shmtest.Start(t, "holder", dir, "mutex")
	}
	before := v.turns.Load()
	shmtest.Until(t, "turns after the last death", func() bool { return v.turns.Load() > before+1000 })
	v.stop.Store(1)
	for _, p := range holders {
		p.Succeed()
	}
	said := kernel.Hear()
	kernel.Succeed()
	if v.wrong.Load() != 0 || v.pair[0] != v.pair[1] {
		t.Errorf("%d went wrong, pair %v", v.wrong.Load(), v.pair)
	}
	t.Logf("note: %d turns of processes, %d repairs; the kernel's side: %s", v.turns.Load(), v.repairs.Load(), said)
}
