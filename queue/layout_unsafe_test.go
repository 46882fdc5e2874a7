package queue

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/shmheap/shmheap/internal/layout"
	"github.com/shmheap/shmheap/internal/shmtest"
)

// number is a number of the format: what Go says, what it must be, and how C says it.
type number struct {
	c         string
	got, want uint64
}

// fields returns the offsets of a struct's fields, frozen as typed-in numbers, with the names that the
// fields have in C.
func fields(c string, v any, want map[string]uint64) (numbers []number) {
	t := reflect.TypeOf(v)
	named := 0
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue
		}
		named++
		offset, ok := want[f.Name]
		if !ok {
			offset = ^uint64(0) // not frozen: fails
		}
		numbers = append(numbers, number{fmt.Sprintf("offsetof(%s, %s)", c, snake(f.Name)), uint64(f.Offset), offset})
	}
	return append(numbers,
		number{fmt.Sprintf("sizeof(%s)", c), uint64(t.Size()), want[""]},
		number{fmt.Sprint(named), uint64(named), uint64(len(want) - 1)})
}

// snake makes a Go name a C one.
func snake(name string) string {
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

func numbers() []number {
	all := fields("struct shmheap_queue", Header{}, map[string]uint64{
		"": 1024, "Magic": 0, "Version": 8, "Kind": 12, "Order": 16, "Handles": 20, "Table": 24, "Slots": 32, "Size": 40,
		"Hands": 48, "Record": 56, "Ready": 120, "State": 128, "Tail": 256, "Head": 384, "Pops": 512, "Pushes": 640,
		"Dropped": 768, "Deaths": 776, "Mourned": 792, "Watch": 896,
	})
	all = append(all, fields("struct shmheap_bell", Bell{}, map[string]uint64{"": 16, "Seq": 0, "Need": 4})...)
	all = append(all, fields("struct shmheap_hands", HandsHeader{}, map[string]uint64{
		"": 256, "Magic": 0, "Version": 8, "Count": 12, "Ready": 120, "Recoverer": 128, "Orphans": 192,
	})...)
	all = append(all, fields("struct shmheap_hand", Record{}, map[string]uint64{
		"": 256, "Owner": 0, "Held": 8, "Intent": 16, "Queue": 24, "Position": 32, "Origin": 40, "Verdict": 128,
	})...)
	all = append(all, fields("struct shmheap_mailbox", MailboxLayout{}, map[string]uint64{
		"": 512, "Turn": 0, "Words": 8, "Magic": 128, "Version": 136, "Ready": 144, "Owners": 152, "State": 168,
		"Replies": 256, "Requests": 384,
	})...)
	return append(append(all, words()...), heapNumbers()...)
}

// words are the numbers that are no offsets.
func words() []number {
	c := cursor{index: 3, lap: emptyOf(5)}
	return []number{
		{"SHMHEAP_QUEUE_MAGIC", Magic, 0x45554555514d4853}, {"SHMHEAP_QUEUE_VERSION", Version, 1},
		{"SHMHEAP_QUEUE_READY", ReadyValue, 0x1d5ead1e4ea90002}, {"SHMHEAP_QUEUE_TYPE", uint64(rootType), 0x51554555455f7631},
		{"SHMHEAP_HANDS_MAGIC", HandsMagic, 0x53444e41484d4853}, {"SHMHEAP_MAILBOX_MAGIC", MailboxMagic, 0x584f424c494d4853},
		{"SHMHEAP_MAILBOX_WORDS", MailboxWords, 7},
		{"SHMHEAP_SPSC", uint64(SPSC), 1}, {"SHMHEAP_MPSC", uint64(MPSC), 2}, {"SHMHEAP_MPMC", uint64(MPMC), 3},
		{"SHMHEAP_BROADCAST", uint64(broadcastKind), 4},
		{"SHMHEAP_QUEUE_CLOSED", StateClosed, 1}, {"SHMHEAP_QUEUE_POP_SLEEP", StatePopSleep, 2},
		{"SHMHEAP_QUEUE_PUSH_SLEEP", StatePushSleep, 4},
		{"SHMHEAP_SLOT_FULL", slotFull, 1 << 63}, {"SHMHEAP_SLOT_LAP_SHIFT", lapShift, 51},
		{"SHMHEAP_SLOT_LAP_MASK", lapMask, 4095}, {"SHMHEAP_SLOT_BY_MASK", byMask, 0xff << 43},
		{"SHMHEAP_SLOT_VALUE_MASK", valueMask, 1<<43 - 1}, {"SHMHEAP_SLOT_POPPER_MASK", popMask, 0xff},
		{"SHMHEAP_SLOT_UNIT", Unit, 8},
		{"shmheap_slot_empty(4096ull * 16 + 5 * 16 + 3, 4)", c.lap, 5 << 51},
		{"shmheap_slot_full(5 * 16 + 3, 4, 0x12340)", c.lap | slotFull | 0x12340/Unit, 1<<63 | 5<<51 | 0x2468},
	}
}

// heapNumbers are those of the heap that C knows too. internal/layout freezes them.
func heapNumbers() []number {
	var s layout.Superblock
	var r layout.Root
	same := func(c string, got uintptr) number { return number{c, uint64(got), uint64(got)} }
	sections := unsafe.Offsetof(s.Sections)
	return []number{
		{"SHMHEAP_MAGIC", layout.Magic, layout.Magic}, {"SHMHEAP_VERSION", layout.Version, layout.Version},
		{"SHMHEAP_READY", layout.ReadyValue, layout.ReadyValue}, {"SHMHEAP_GRANULE", layout.GranuleSize, layout.GranuleSize},
		same("offsetof(struct shmheap_super, base)", unsafe.Offsetof(s.Base)),
		same("offsetof(struct shmheap_super, size)", unsafe.Offsetof(s.Size)),
		same("offsetof(struct shmheap_super, max_roots)", unsafe.Offsetof(s.MaxRoots)),
		same("offsetof(struct shmheap_super, id)", unsafe.Offsetof(s.ID)),
		same("offsetof(struct shmheap_super, name)", unsafe.Offsetof(s.Name)),
		same("offsetof(struct shmheap_super, roots)", sections+unsafe.Offsetof(s.Sections.Roots)),
		same("offsetof(struct shmheap_super, sites)", sections+unsafe.Offsetof(s.Sections.Sites)),
		same("offsetof(struct shmheap_super, data)", sections+unsafe.Offsetof(s.Sections.Data)),
		same("offsetof(struct shmheap_super, checksum)", unsafe.Offsetof(s.Checksum)),
		same("offsetof(struct shmheap_super, ready)", unsafe.Offsetof(s.Ready)),
		same("offsetof(struct shmheap_root, state)", unsafe.Offsetof(r.State)),
		same("offsetof(struct shmheap_root, offset)", unsafe.Offsetof(r.Offset)),
		same("offsetof(struct shmheap_root, type)", unsafe.Offsetof(r.Type)),
		same("offsetof(struct shmheap_root, name)", unsafe.Offsetof(r.Name)),
		same("offsetof(struct shmheap_root, type_name)", unsafe.Offsetof(r.TypeName)),
		same("sizeof(struct shmheap_root)", unsafe.Sizeof(r)),
	}
}

// TestFrozenFormat freezes the numbers of the format. A failure means that queues made by other builds can
// no longer be used: raise Version, and change doc/format.md and kmod/uapi/shmheap.h with it.
func TestFrozenFormat(t *testing.T) {
	for _, n := range numbers() {
		if n.got != n.want {
			t.Errorf("%s is %#x, want %#x", n.c, n.got, n.want)
		}
	}
}

// TestCompilerAgrees has the C compiler prove that the header says the same, as C and as C++.
func TestCompilerAgrees(t *testing.T) {
	header, err := filepath.Abs("../kmod/uapi/shmheap.h")
	if err != nil {
		t.Fatal(err)
	}
	var proof strings.Builder
	fmt.Fprintf(&proof, "#include %q\nint main(void) {\n", header)
	for _, n := range numbers() {
		fmt.Fprintf(&proof, "\tif ((%s) != %#xull) return __LINE__ %% 100 + 1;\n", n.c, n.want)
		if !strings.Contains(n.c, "shmheap_slot") {
			fmt.Fprintf(&proof, "\t_Static_assert((%s) == %#xull, %q);\n", n.c, n.want, n.c)
		}
	}
	proof.WriteString("\treturn 0;\n}\n")
	source := filepath.Join(t.TempDir(), "proof.c")
	if err := os.WriteFile(source, []byte(proof.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		shmtest.Skip(t, "no C compiler", "install gcc or clang")
	}
	program := filepath.Join(t.TempDir(), "proof")
	if out, err := exec.Command(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Errorf("the program disagrees: %v %s", err, out)
	}
}

// TestNoStoredStructHoldsAGoPointer proves by reflection that nothing in the format is managed by Go, and
// that words of different writers are apart.
func TestNoStoredStructHoldsAGoPointer(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := range typ.NumField() {
				walk(path+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		case reflect.Array:
			walk(path+"[]", typ.Elem())
		case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		default:
			t.Errorf("%s is a %s", path, typ)
		}
	}
	for _, v := range []any{Header{}, Bell{}, HandsHeader{}, Record{}, MailboxLayout{}} {
		walk(reflect.TypeOf(v).Name(), reflect.TypeOf(v))
	}
}

// TestFormatDocument compares the tables of fields in doc/format.md with the declarations.
func TestFormatDocument(t *testing.T) {
	doc, err := os.ReadFile("../doc/format.md")
	if err != nil {
		t.Fatal(err)
	}
	for title, v := range map[string]any{
		"Queue header": Header{}, "Bell": Bell{}, "Hands header": HandsHeader{}, "Hand": Record{}, "Mailbox": MailboxLayout{},
	} {
		_, section, found := strings.Cut(string(doc), "### "+title+" fields\n")
		section, _, _ = strings.Cut(section, "\n## ")
		section, _, _ = strings.Cut(section, "\n### ")
		section, _, _ = strings.Cut(section, "\n# ")
		if !found {
			t.Errorf("no table of the fields of a %s", title)
		}
		typ, rows := reflect.TypeOf(v), 0
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Name == "_" {
				continue
			}
			rows++
			if row := fmt.Sprintf("\n| %d | %d | %s | ", f.Offset, f.Type.Size(), f.Name); !strings.Contains(section, row) {
				t.Errorf("%s: the table has no row %q", title, row)
			}
		}
		if got := strings.Count(section, "\n| ") - 1; got != rows {
			t.Errorf("%s: the table has %d rows, the declaration %d fields", title, got, rows)
		}
	}
}
