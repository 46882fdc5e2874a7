package lock

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// TestWithKernel: a lock that the kernel has is waited for, as the kernel does not die.
func TestWithKernel(t *testing.T) {
	var w world
	var m Mutex
	one := w.join()
	p := WithKernel(one)
	m.word.StoreRelease(uint64(KernelPeer))
	want(t, "lock the kernel's", m.Lock(soon(t), p), context.DeadlineExceeded)
	want(t, "try the kernel's", m.TryLock(p), ErrLocked)
	want(t, "unlock the kernel's", m.Unlock(p), ErrNotOwner)
	// The kernel leaves the bit that says that somebody may sleep; the next to unlock wakes.
	m.word.StoreRelease(bitWaiting)
	want(t, "lock", m.Lock(t.Context(), p), nil)
	want(t, "unlock", m.Unlock(p), nil)
	want(t, "lock by another", m.Lock(t.Context(), WithKernel(w.join())), nil)
	// What the kernel takes away from a dead owner.
	m.word.StoreRelease(bitDamaged | bitWaiting)
	want(t, "lock what was buried", m.Lock(t.Context(), p), ErrOwnerDied)
	want(t, "mark", m.MarkConsistent(p), nil)
	want(t, "unlock", m.Unlock(p), nil)
}

// TestCompilerAgrees has the C compiler prove that the header for kernels says the same.
func TestCompilerAgrees(t *testing.T) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	header, err := filepath.Abs("../kmod/uapi/shmheap_lock.h")
	if err != nil {
		t.Fatal(err)
	}
	var m Mutex
	var proof strings.Builder
	fmt.Fprintf(&proof, "#include %q\n", header)
	for c, value := range map[string]uint64{
		"SHMHEAP_MUTEX_OWNER": peerMask, "SHMHEAP_MUTEX_WAITING": bitWaiting, "SHMHEAP_MUTEX_TURN": bitTurn,
		"SHMHEAP_MUTEX_DAMAGED": bitDamaged, "SHMHEAP_MUTEX_LOST": bitLost, "SHMHEAP_PEER_KERNEL": uint64(KernelPeer),
		"sizeof(struct shmheap_mutex)":            uint64(unsafe.Sizeof(m)),
		"offsetof(struct shmheap_mutex, word)":    uint64(unsafe.Offsetof(m.word)),
		"offsetof(struct shmheap_mutex, seq)":     uint64(unsafe.Offsetof(m.event) + unsafe.Offsetof(m.event.seq)),
		"offsetof(struct shmheap_mutex, waiting)": uint64(unsafe.Offsetof(m.event) + unsafe.Offsetof(m.event.waiting)),
	} {
		fmt.Fprintf(&proof, "_Static_assert((%s) == %#xull, %q);\n", c, value, c)
	}
	source := filepath.Join(t.TempDir(), "proof.c")
	if err := os.WriteFile(source, []byte(proof.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", source).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
