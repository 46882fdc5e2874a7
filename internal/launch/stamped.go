package launch

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/shmheap/shmheap/internal/stamp"
	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/probe"
)

// ExecStamped becomes a copy, in memory, of the program at path that has stamps for the ranges. The
// copy has the program's arguments but is its own executable: /proc/self/exe leads to it. It returns
// only when it cannot: stamp.ErrUnsuitable for a program that cannot be stamped, ErrStart when the copy
// cannot be executed.
func ExecStamped(path string, args, env []string, ranges []probe.Range) error {
	program, err := os.Open(path)
	if err != nil {
		return err
	}
	defer program.Close()
	stamped, err := stampedCopy(program, filepath.Base(args[0]), ranges)
	if err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	defer stamped.Close()
	return start(sys.PathOf(stamped), args, env)
}

func stampedCopy(program *os.File, name string, ranges []probe.Range) (*os.File, error) {
	stamps := make([]stamp.Range, len(ranges))
	for i, r := range ranges {
		stamps[i] = stamp.Range{Base: r.Start, Size: r.Size()}
	}
	if err := stamp.Check(program, stamps...); err != nil {
		return nil, err
	}
	to, err := sys.ExecutableMemory(name)
	if err != nil {
		return nil, err
	}
	if err := stamp.Copy(to, program, stamps...); err != nil {
		to.Close()
		return nil, err
	}
	return to, nil
}
