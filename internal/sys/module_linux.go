package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// InsertModule inserts the kernel module in f with parameters as in "name=value other=value" (man 2
// finit_module).
func InsertModule(f *os.File, parameters string) error {
	return pathError("insert", f.Name(), unix.FinitModule(int(f.Fd()), parameters, 0))
}

// RemoveModule removes the kernel module of that name, or fails when somebody uses it (man 2 delete_module).
func RemoveModule(name string) error {
	return pathError("remove module", name, unix.DeleteModule(name, unix.O_NONBLOCK))
}
