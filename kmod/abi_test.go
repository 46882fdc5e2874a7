package kmod

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// arguments are the structs of the interface by their names in C, with the length that each call begins with.
var arguments = []struct {
	c      string
	v      any
	length uintptr // as this package passes it, 0 for what is no argument
}{
	{"shmheap_info", infoArgs{}, infoSize}, {"shmheap_create", createArgs{}, createSize}, {"shmheap_open", openArgs{}, openSize},
	{"shmheap_stat", statArgs{}, statSize}, {"shmheap_peers", peersArgs{}, peersSize}, {"shmheap_queue_attach", queueArgs{}, queueSize},
	{"shmheap_queue_wait", waitArgs{}, waitSize}, {"shmheap_queue_eventfd", eventFDArgs{}, eventFDSize},
	{"shmheap_queue_stat", queueStatArgs{}, queueStatSize}, {"shmheap_copies", copiesArgs{}, copiesSize},
	{"shmheap_copy", copyArgs{}, copySize}, {"shmheap_stream_open", streamOpenArgs{}, streamOpenSize},
	{"shmheap_stream_seen", seenArgs{}, seenSize},
	{"shmheap_message", messageArgs{}, 0}, {"shmheap_stream", streamHeader{}, 0}, {"shmheap_record", recordArgs{}, 0},
}

// constants are numbers of the interface by their names in C.
var constants = map[string]uint64{
	"SHMHEAP_KMOD_VERSION": Version, "SHMHEAP_CHANNELS": MaxChannels, "SHMHEAP_CONTROL_WORDS": ControlWords,
	"SHMHEAP_NAME_SIZE": nameSize, "SHMHEAP_MMAP_REGION": mapRegion, "SHMHEAP_MMAP_CONTROL": mapControl,
	"SHMHEAP_NONBLOCK": flagNonblock, "SHMHEAP_NOMAP": flagNoMap, "SHMHEAP_STREAM_OLDEST": flagOldest,
	"SHMHEAP_STAT_UNLINKED": statUnlinked, "SHMHEAP_NO_WAIT": noWait, "SHMHEAP_RECORD_LOST": recordLost,
	"SHMHEAP_STREAM_MAGIC": streamMagic, "sizeof(struct shmheap_record)": recordHeader,
	"sizeof(struct shmheap_message)": messageHeader,
	"SHMHEAP_COMMAND":                uint64(Command), "SHMHEAP_REPLY": uint64(Reply), "SHMHEAP_FILL": uint64(Fill), "SHMHEAP_COMPLETION": uint64(Completion),
	"SHMHEAP_IOC_INFO": iocInfo, "SHMHEAP_IOC_CREATE": iocCreate, "SHMHEAP_IOC_OPEN": iocOpen, "SHMHEAP_IOC_STAT": iocStat,
	"SHMHEAP_IOC_UNLINK": iocUnlink, "SHMHEAP_IOC_PEERS": iocPeers, "SHMHEAP_IOC_QUEUE": iocQueue, "SHMHEAP_IOC_STREAM": iocStream,
	"SHMHEAP_IOC_COPIES": iocCopies, "SHMHEAP_IOC_SEND": iocSend, "SHMHEAP_IOC_RECV": iocReceive, "SHMHEAP_IOC_WAIT": iocWait,
	"SHMHEAP_IOC_KICK": iocKick, "SHMHEAP_IOC_EVENTFD": iocEventFD, "SHMHEAP_IOC_QSTAT": iocQStat, "SHMHEAP_IOC_SEEN": iocSeen, "SHMHEAP_FEATURE_SEEN": uint64(FeatureSeen),
	"sizeof(struct shmheap_stream)": streamHeaderSize, "sizeof(struct shmheap_stream_ring)": ringHeader,
	"offsetof(struct shmheap_stream_ring, dropped)": 8,
	"SHMHEAP_FEATURE_REGION":                        uint64(FeatureRegion), "SHMHEAP_FEATURE_QUEUES": uint64(FeatureQueues),
	"SHMHEAP_FEATURE_CONTROL": uint64(FeatureControl), "SHMHEAP_FEATURE_STREAM": uint64(FeatureStream),
	"SHMHEAP_FEATURE_COPIES": uint64(FeatureCopies), "SHMHEAP_FEATURE_PUNCH": uint64(FeaturePunch),
}

// cName makes a name of Go one of C: the words of it in small letters.
func cName(name string) string {
	for _, s := range []string{"ID", "FD", "CPU", "CPUs"} {
		if name == s {
			return strings.ToLower(name)
		}
	}
	var b strings.Builder
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// proof is a C program that compiles if the header says what this package says.
func proof(header string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#include %q\n#define same(a, n) _Static_assert((a) == (n), #a)\n", header)
	for _, a := range arguments {
		t := reflect.TypeOf(a.v)
		fmt.Fprintf(&b, "same(sizeof(struct %s), %d);\n", a.c, t.Size())
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Name == "_" {
				continue
			}
			fmt.Fprintf(&b, "same(offsetof(struct %s, %s), %d);\n", a.c, cName(f.Name), f.Offset)
			fmt.Fprintf(&b, "same(sizeof(((struct %s *)0)->%s), %d);\n", a.c, cName(f.Name), f.Type.Size())
		}
	}
	for name, value := range constants {
		fmt.Fprintf(&b, "same(%s, %#xull);\n", name, value)
	}
	fmt.Fprintf(&b, "same(sizeof(SHMHEAP_DEVICE), %d);\n", len(DevicePath)+1)
	return b.String()
}

// compile lets a compiler judge a text, and returns what it says.
func compile(t *testing.T, compiler, text string, flags ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(compiler)
	if err != nil {
		shmtest.Skip(t, err.Error(), "install gcc and g++")
	}
	source := filepath.Join(t.TempDir(), "proof.c")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-Wall", "-Wextra", "-Werror", "-fsyntax-only"}, flags...)
	out, err := exec.Command(path, append(args, source)...).CombinedOutput()
	return string(out), err
}

// headerPath is where a header for programs is.
func headerPath(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("uapi", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// flagsFor32 make the compiler one for 32 bits: it finds the headers of 64, and the one that the library lacks.
func flagsFor32(t *testing.T) []string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		return nil
	}
	dir := filepath.Join(t.TempDir(), "gnu")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "stubs-32.h"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return []string{"-m32", "-I" + filepath.Dir(dir), "-I/usr/include/x86_64-linux-gnu"}
}

// TestCompilerAgrees has the C compiler prove that structs and numbers are the header's, for this machine and
// for 32 bits, whose programs the module serves too.
func TestCompilerAgrees(t *testing.T) {
	text := proof(headerPath(t, "shmheap_kmod.h"))
	for _, flags := range [][]string{nil, flagsFor32(t)} {
		flags = append(flags, "-std=gnu11")
		if out, err := compile(t, "cc", text, flags...); err != nil {
			t.Errorf("%q: %v: %s", flags, err, out)
		}
		if _, err := compile(t, "cc", text+"same(SHMHEAP_KMOD_VERSION, 12345);\n", flags...); err == nil {
			t.Errorf("%q: the compiler agrees to everything", flags)
		}
	}
}

// TestHeaders: each header for programs stands alone, in strict C and in C++.
func TestHeaders(t *testing.T) {
	_, _ = compile(t, "cc", "") // or the test is skipped, as where there are no sources either
	headers, err := filepath.Glob("uapi/*.h")
	if err != nil || len(headers) < 5 {
		t.Fatalf("%q, %v", headers, err)
	}
	for _, h := range headers {
		text := fmt.Sprintf("#include %q\n", headerPath(t, filepath.Base(h)))
		if out, err := compile(t, "cc", text, "-std=c11", "-pedantic"); err != nil {
			t.Errorf("%s in C: %v: %s", h, err, out)
		}
		if out, err := compile(t, "c++", text, "-std=c++11", "-x", "c++"); err != nil {
			t.Errorf("%s in C++: %v: %s", h, err, out)
		}
	}
}

// TestLengths: what a call says of the length of its argument is true.
func TestLengths(t *testing.T) {
	for _, a := range arguments {
		if size := reflect.TypeOf(a.v).Size(); a.length != 0 && a.length != size {
			t.Errorf("%s: passes %d, has %d bytes", a.c, a.length, size)
		}
	}
}
