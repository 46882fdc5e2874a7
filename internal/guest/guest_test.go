package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// entry is what an archive says of one file.
type entry struct {
	name         string
	mode, device int64
	content      string
}

// parse reads an archive as the kernel does (init/initramfs.c).
func parse(t *testing.T, data []byte) (entries []entry) {
	t.Helper()
	const header = 6 + 13*8
	for at := 0; ; {
		if string(data[at:at+6]) != "070701" {
			t.Fatalf("no header at %d: %q", at, data[at:min(at+10, len(data))])
		}
		var fields [13]int64
		for i := range fields {
			n, err := strconv.ParseInt(string(data[at+6+8*i:at+14+8*i]), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			fields[i] = n
		}
		size, nameSize := int(fields[6]), int(fields[11])
		begin := (at + header + nameSize + 3) &^ 3
		name := string(data[at+header : at+header+nameSize-1])
		if name == trailer {
			return entries
		}
		entries = append(entries, entry{name, fields[1], fields[9]<<8 | fields[10], string(data[begin : begin+size])})
		at = (begin + size + 3) &^ 3
	}
}

func TestInitramfs(t *testing.T) {
	host := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(host, []byte("12345"), 0o750); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err := writeInitramfs(&b, []File{
		{Path: "/init", Host: host}, {Path: "/usr/bin/a", Link: "../../init"}, {Path: "/plan", Data: []byte("xyz")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range parse(t, b.Bytes()) {
		got = append(got, fmt.Sprintf("%s %o %x %s", e.name, e.mode, e.device, e.content))
	}
	var want []string
	for _, dir := range []string{"dev", "dev/shm", "etc", "proc", "sys", "tmp", "usr", "usr/bin"} {
		want = append(want, dir+" 40755 0 ")
	}
	want = append(want, "dev/console 20600 501 ", "init 100750 0 12345", "usr/bin/a 120777 0 ../../init", "plan 100755 0 xyz")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := writeInitramfs(&b, []File{{Path: "/x", Host: host + "missing"}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestConsole(t *testing.T) {
	var c console
	for _, part := range []string{
		"[    0.1] Call Trace:\r\n@kernel 4 WARNING: early\n@guest st", "ep a\r\nhello\r\nhalf",
		"\n[    0.2][   T12] x: loaded\n@kernel 6 x: loaded\n@guest end a 3 1500\r\n\n",
		"@guest step b\nmore\n@guest late b\n@guest end b 137 20\n@guest step c\n", "@guest done",
	} {
		fmt.Fprint(&c, part)
	}
	r := c.result()
	want := []StepResult{
		{"a", 3, false, 1500 * time.Millisecond, "hello\nhalf\n[    0.2][   T12] x: loaded\n", []string{"x: loaded"}},
		{"b", 137, true, 20 * time.Millisecond, "more\n", nil},
		{"c", -1, false, 0, "", nil},
	}
	if !reflect.DeepEqual(r.Steps, want) || !slices.Equal(r.Boot, []string{"WARNING: early"}) || !r.complete {
		t.Errorf("%+v, boot %q, complete %t", r.Steps, r.Boot, r.complete)
	}
	if got := r.Trouble(); !slices.Equal(got, []string{"WARNING: early"}) || !strings.HasSuffix(r.tail(), "@guest done") {
		t.Errorf("trouble %q", got)
	}
	r.complete = false // then what it wrote to the console counts too
	if got := r.Trouble(); !slices.Equal(got, []string{"WARNING: early", "Call Trace:"}) {
		t.Errorf("trouble %q", got)
	}
	if b, ok := r.Step("b"); !ok || b.Status != 137 {
		t.Errorf("step b: %+v", b)
	}
	if _, ok := r.Step("d"); ok {
		t.Error("there is no step d")
	}
}

func TestArguments(t *testing.T) {
	for arch := range machines {
		g := Guest{Arch: arch, Kernel: "image", Append: "no5lvl", Memory: 512, Devices: []string{"edu", "-object rng-random,id=r"}}
		line := strings.Join(g.arguments("ramfs"), " ")
		for _, part := range []string{"-accel tcg", "-m 512 ", "-kernel image ", "-initrd ramfs ", "no5lvl", "-no-reboot", "-device edu", "-object rng-random,id=r"} {
			if !strings.Contains(line, part) {
				t.Errorf("%s: %q lacks %q", arch, line, part)
			}
		}
	}
	if _, err := Emulator("pdp11"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// TestBootAgain: a machine that hangs before its first process is booted again, one that hangs later is not.
func TestBootAgain(t *testing.T) {
	for name, test := range map[string]struct {
		script string // what stands in for the emulator
		boots  int
		fails  bool
	}{
		"hangs":   {`test -e ran || { touch ran; exec sleep 1000; }; echo "@guest done"`, 2, false},
		"crashes": {`test -e ran || { touch ran; echo "Kernel panic"; exit 0; }; echo "@guest done"`, 2, false},
		"always":  {`echo "Kernel panic"`, 3, true},
		"later":   {`echo "@guest step a"; exit 1`, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for path, text := range map[string]string{machines["amd64"].program: "#!/bin/sh\n" + test.script + "\n", "initramfs": ""} {
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			g := Guest{Arch: "amd64", Kernel: "image", bootTime: 2 * time.Second}
			r, err := g.bootAll(t.Context(), filepath.Join(dir, machines["amd64"].program), "initramfs")
			if (err != nil) != test.fails || r.Boots != test.boots {
				t.Errorf("%d boots, %v", r.Boots, err)
			}
		})
	}
}
