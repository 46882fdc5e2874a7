package inside

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod"
)

// TestUnload removes the module while it is used, which must fail, and then when it is not. The partner must have
// been removed. It comes last, and alone.
func TestUnload(t *testing.T) {
	if number(t, "KMOD_UNLOAD", 0) == 0 {
		t.Log("KMOD_UNLOAD is not set")
		return
	}
	d := device(t)
	refused := func(what string) {
		t.Helper()
		if err := sys.RemoveModule("shmheap"); !errors.Is(err, sys.EAGAIN) && !errors.Is(err, sys.EBUSY) {
			t.Errorf("with %s: %v", what, err)
		}
	}
	refused("a device open")
	i := must[*kmod.Instance](t)(d.Create(newName(), &kmod.InstanceOptions{StreamOrder: 2}))
	word := must[kmod.Word](t)(i.Control(0))
	s := must[*kmod.Stream](t)(i.Stream(nil))
	closeAll(t, d)
	refused("an instance open")
	word.Store(1)
	closeAll(t, i)
	refused("a stream open")
	closeAll(t, s)
	eventually(t, "it can be removed", func() bool { return sys.RemoveModule("shmheap") == nil })
	if _, err := kmod.Open(); !errors.Is(err, kmod.ErrNoModule) {
		t.Errorf("open without the module: %v", err)
	}
	wrongParameters(t)
}

// wrongParameters inserts the module with modes that are none: that fails after the self-test, and leaves nothing.
func wrongParameters(t *testing.T) {
	for _, parameters := range []string{"selftest=1 mode=01777", "mode=666"} {
		f := must[*os.File](t)(os.Open("/modules/shmheap.ko"))
		if err := sys.InsertModule(f, parameters); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", parameters, err)
		}
		closeAll(t, f)
	}
}
