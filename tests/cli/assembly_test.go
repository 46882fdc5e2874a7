package cli

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// locked are the instructions that take a cache line from all others, and full barriers. Loads and stores that are
// ordered, as arm64 has them, are neither.
var locked = map[string]*regexp.Regexp{
	"amd64": regexp.MustCompile(`^(LOCK|XCHG|CMPXCHG|XADD|MFENCE|LFENCE|SFENCE)`),
	"arm64": regexp.MustCompile(`^(CAS|SWP|LDADD|LDCLR|LDSET|LDEOR|LDAXR|LDXR|STLXR|STXR|DMB|DSB)`),
}

// jump is where one leads to: an address on amd64, and back on arm64, where it is counted from the instruction.
var jump = map[string]*regexp.Regexp{
	"amd64": regexp.MustCompile(`^J[A-Z]+ (0x[0-9a-f]+)$`),
	"arm64": regexp.MustCompile(`^(?:JMP|B[A-Z]*|CBN?ZW?|TBN?Z) .*(-[0-9]+)\(PC\)$`),
}

// TestShortWays: what doc/alloc.md says of a cache's Alloc and Free: no locked instruction, no loop, and no call but
// the one that leads to the long way.
func TestShortWays(t *testing.T) {
	bad := locked[runtime.GOARCH]
	if bad == nil {
		shmtest.SkipAnywhere(t, "the instructions of "+runtime.GOARCH+" are not known")
	}
	for name, long := range map[string]string{"Alloc": "allocSlow", "Free": "freeSlow"} {
		t.Run(name, func(t *testing.T) {
			code := disassemble(t, `alloc\.\(\*Cache\)\.`+name+"$")
			if len(code) < 15 || len(code) > 80 {
				t.Fatalf("%d instructions", len(code))
			}
			calls := 0
			for at, text := range code {
				if bad.MatchString(text) {
					t.Errorf("%#x: %s", at, text)
				}
				if strings.HasPrefix(text, "CALL ") {
					if calls++; !strings.Contains(text, long) && !strings.Contains(text, "morestack") {
						t.Errorf("%#x: %s", at, text)
					}
				}
				if m := jump[runtime.GOARCH].FindStringSubmatch(text); m != nil && (m[1][0] == '-' || address(t, m[1]) <= at) {
					t.Errorf("%#x: a loop: %s", at, text)
				}
			}
			if calls == 0 {
				t.Error("no long way: this is not what it was meant to look at")
			}
		})
	}
}

// disassemble returns the instructions of a function of the command, by address.
func disassemble(t *testing.T, function string) map[uint64]string {
	t.Helper()
	out, err := exec.Command("go", "tool", "objdump", "-s", function, filepath.Join(program, "shmheap")).Output()
	if err != nil {
		t.Fatal(err)
	}
	code := make(map[uint64]string)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasPrefix(f[1], "0x") {
			code[address(t, f[1])] = strings.Join(f[3:], " ")
		}
	}
	return code
}

func address(t *testing.T, hex string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
