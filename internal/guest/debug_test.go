package guest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLostOptions(t *testing.T) {
	const wanted = "# a remark\nCONFIG_A=y\nCONFIG_B=16\n# CONFIG_C is not set\nCONFIG_D=y\n# CONFIG_D is not set\nCONFIG_E=y\n"
	tests := []struct {
		got  string
		want []string
	}{
		{"CONFIG_A=y\nCONFIG_B=16\nCONFIG_E=y\n", nil},
		{"CONFIG_A=y\nCONFIG_B=16\n# CONFIG_C is not set\nCONFIG_E=y\n", nil},
		{"# CONFIG_A is not set\nCONFIG_B=1\nCONFIG_C=y\nCONFIG_D=y\n", []string{
			"CONFIG_A=y", "CONFIG_B=16", "# CONFIG_C is not set", "# CONFIG_D is not set", "CONFIG_E=y"}},
	}
	for _, test := range tests {
		if got := lostOptions(wanted, test.got); !slices.Equal(got, test.want) {
			t.Errorf("%q: lost %q, want %q", test.got, got, test.want)
		}
	}
}

// TestFragments: every kernel's fragments are there, and none sets what another clears.
func TestFragments(t *testing.T) {
	for name, r := range recipes {
		text, err := fragmentsText(r.fragments)
		if err != nil {
			t.Fatal(err)
		}
		set := map[string]string{}
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if option, ok := option(line); ok && set[option] != "" {
				t.Errorf("%s: %q and %q", name, set[option], line)
			} else if ok {
				set[option] = line
			}
		}
		if len(set) < 60 {
			t.Errorf("%s: %d options", name, len(set))
		}
	}
}

// TestSettings: what a kernel does not depend on does not make another of it.
func TestSettings(t *testing.T) {
	const text = "# A remark.\nCONFIG_B=y\n# CONFIG_A is not set\nCONFIG_C=16\n"
	const same = "CONFIG_C=16\n# CONFIG_A is not set\n# Another.\n# And one more: CONFIG_D\nCONFIG_B=y\n"
	if settings(text) != settings(same) || settings(text) == settings(text+"CONFIG_D=y\n") {
		t.Errorf("%q, %q", settings(text), settings(same))
	}
}

func TestCached(t *testing.T) {
	t.Setenv(CacheVariable, t.TempDir())
	wrong := errors.New("wrong")
	made := 0
	content := func(dir string) error {
		made++
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("begins with %v, %v", entries, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil || made == 1 {
			return errors.Join(err, wrong)
		}
		return nil
	}
	if _, err := cached("a/b", content); !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
	for range 2 {
		if dir, err := cached("a/b", content); err != nil || filepath.Base(dir) != "b" {
			t.Errorf("%s, %v", dir, err)
		}
	}
	if made != 2 {
		t.Errorf("made %d times", made)
	}
}

func TestFollow(t *testing.T) {
	var told []string
	err := follow(exec.Command("sh", "-c", "echo one; echo two >&2; exit 3"), func(line string) { told = append(told, line) })
	if err == nil || !strings.Contains(err.Error(), "two") || len(told) != 0 {
		t.Errorf("%v, told %q", err, told)
	}
	if err := follow(exec.Command("true"), func(line string) { told = append(told, line) }); err != nil || len(told) != 1 {
		t.Errorf("%v, told %q", err, told)
	}
}

// TestModuleSources: what makes another build has another sum, and what builds leave is not copied.
func TestModuleSources(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a.c", "1")
	put("Kbuild", "obj-m := a.o\n")
	read := func() moduleSources {
		s, err := readSources(map[string]string{"tree": dir, "other": t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := read()
	for _, name := range []string{"a.o", "a.ko", "a.mod.c", ".a.o.cmd", "README.md"} {
		put(name, "x")
	}
	if s := read(); string(s.sum(nil)) != string(first.sum(nil)) {
		t.Errorf("built files count: %q", s.names())
	}
	if string(first.sum([]string{"W=1"})) == string(first.sum(nil)) {
		t.Error("arguments do not count")
	}
	put("a.c", "2")
	if string(read().sum(nil)) == string(first.sum(nil)) {
		t.Error("content does not count")
	}
	if got := string(first["Kbuild"]); got != "obj-m := other/ tree/\n" {
		t.Errorf("%q", got)
	}
}
