package guest

import (
	"os"
	"os/exec"
)

// Build compiles for a guest, without cgo and without symbols: args are those of the go command, such
// as "build" or "test", "-c", and -o with its value.
func Build(arch string, args ...string) error {
	_, err := output(goCommand(arch, args...))
	return err
}

func goCommand(arch string, args ...string) *exec.Cmd {
	const noSymbols = "-ldflags=-s -w"
	cmd := exec.Command("go", append([]string{args[0], noSymbols}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	return cmd
}
