package kmod

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
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

// TestCompilerAgrees has the C compiler prove that structs and numbers are the header's, for this machine and
// for 32 bits, whose programs the module serves too.
func TestCompilerAgrees(t *testing.T) {
	header, err := filepath.Abs("uapi/shmheap_kmod.h")
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	source := filepath.Join(t.TempDir(), "proof.c")
	compile := func(text string) (string, error) {
		if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", source).CombinedOutput()
		return string(out), err
	}
	text := proof(header)
	if out, err := compile(text); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := compile(text + "same(SHMHEAP_KMOD_VERSION, 12345);\n"); err == nil {
		t.Error("the compiler agrees to everything")
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
