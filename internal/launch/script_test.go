package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInterpreter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	for text, want := range map[string]string{
		"#!/bin/sh\nexit\n": "/bin/sh", "#! \t/bin/sh -e\nx": "/bin/sh", "#!/bin/sh": "/bin/sh", "#!sh\t-x y\n": "sh",
		"": "", "#": "", "#!": "", "#!\n/bin/sh": "", "\x7fELF#!/bin/sh": "", " #!/bin/sh": "", "#!/a\x00b\n": "/a",
		"#!/bin/env" + strings.Repeat("x", 300): "/bin/env" + strings.Repeat("x", maxFirstLine-len("#!/bin/env")),
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := interpreterOf(path); got != want {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
	if got := interpreterOf(path + "missing"); got != "" {
		t.Errorf("missing: %q", got)
	}
}

// TestExecuted follows interpreters, and does not go round for ever.
func TestExecuted(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	last := write("program", "\x7fELF")
	second := write("second", "#!"+last+" -x\n")
	first := write("first", "#! "+second+"\n")
	if got := executed(first); got != last {
		t.Errorf("%q, want %q", got, last)
	}
	if got := executed(last); got != last {
		t.Errorf("%q, want %q", got, last)
	}
	loop := write("loop", "#!"+filepath.Join(dir, "loop")+"\n")
	if got := executed(loop); got != loop {
		t.Errorf("%q", got)
	}
}
