package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/internal/demo"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the pages that are made from the sources")

// printed is what each command prints with --json, a value of its type.
var printed = []struct {
	command string
	values  []any
	note    string
}{
	{"shmheap bench all", []any{benchAllJSON{}}, "Also written beside the report of --report."},
	{"shmheap bench alloc", []any{benchJSON{}}, ""},
	{"shmheap bench queue", []any{queueReportJSON{}}, ""},
	{"shmheap check", []any{checkJSON{}}, ""},
	{"shmheap collect", []any{collectedJSON{}}, ""},
	{"shmheap demo", []any{demo.Report{}}, ""},
	{"shmheap doctor", []any{doctorJSON{}}, ""},
	{"shmheap dump", []any{dumpJSON{}, placeJSON{}}, "The second with an address."},
	{"shmheap explain", []any{explainJSON{}}, ""},
	{"shmheap info", []any{infoJSON{}}, ""},
	{"shmheap init", []any{heapJSON{}}, ""},
	{"shmheap kmem", []any{kmemJSON{}}, ""},
	{"shmheap kmod status", []any{kmodJSON{}}, ""},
	{"shmheap leaks", []any{collectedJSON{}}, ""},
	{"shmheap ls", []any{[]heapJSON{}}, ""},
	{"shmheap man", []any{manJSON{}}, ""},
	{"shmheap map", []any{mapJSON{}}, ""},
	{"shmheap pprof", []any{pprofJSON{}}, "The profile itself is pprof's, in the file."},
	{"shmheap prepare", []any{prepareJSON{}}, ""},
	{"shmheap probe", []any{probeJSON{}}, ""},
	{"shmheap rebase", []any{rebaseJSON{}}, ""},
	{"shmheap recover", []any{recoverJSON{}}, ""},
	{"shmheap rm", []any{rmJSON{}}, ""},
	{"shmheap serve", []any{serveJSON{}}, "Its /api answers with the value of top as heap, and with looks, interval, words and history."},
	{"shmheap stamp", []any{stampJSON{}}, ""},
	{"shmheap survey", []any{probe.Profile{}}, "This is the profile that --profile of other commands reads; its fields are those of probe.Profile as probe.WriteProfile writes them."},
	{"shmheap top", []any{live.Snapshot{}}, "One value for each interval."},
}

// silent are commands that print nothing of their own.
var silent = []string{"shmheap run", "shmheap bench", "shmheap kmod", "shmheap kmod build", "shmheap kmod load", "shmheap kmod test"}

// TestJSONPage: doc/json.md says of every command what --json prints, as the sources have it.
//
//	go test -run TestJSONPage ./cmd/shmheap -update
func TestJSONPage(t *testing.T) {
	const page = "../../doc/json.md"
	want := jsonPage(t)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what the sources say; run this test with -update (-want +got):\n%s", page, diff)
	}
}

// TestJSONPageIsWhole: there is no command that the page leaves out.
func TestJSONPageIsWhole(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		path := c.CommandPath()
		known := slices.Contains(silent, path) || slices.ContainsFunc(printed, func(p struct {
			command string
			values  []any
			note    string
		}) bool {
			return p.command == path
		})
		if c.Runnable() && !c.Hidden && c.Name() != "help" && !strings.HasPrefix(path, "shmheap completion") && !known {
			t.Errorf("json_test.go does not say what %s --json prints", path)
		}
	}
	walk((&app{out: &output{Writer: io.Discard}, err: io.Discard}).rootCommand())
}

func jsonPage(t *testing.T) []byte {
	t.Helper()
	w := &schemaWriter{comments: fieldComments(t)}
	w.printf("# What --json prints\n\n" +
		"Every command prints one JSON value with `--json`. Names stay what they are, and so does what they mean; new ones may be\n" +
		"added. Sizes are bytes, times RFC 3339 in UTC, addresses hexadecimal texts, since numbers of JSON lose digits. Errors go to\n" +
		"standard error as text; the exit status tells what kind they are.\n\n" +
		"This page is made from the sources: `go test -run TestJSONPage ./cmd/shmheap -update`.\n")
	for _, p := range printed {
		w.printf("\n## %s\n", strings.TrimPrefix(p.command, "shmheap "))
		if p.note != "" {
			w.printf("\n%s\n", p.note)
		}
		for _, v := range p.values {
			w.printf("\n| name | type | |\n|---|---|---|\n")
			w.fields("", reflect.TypeOf(v))
		}
	}
	return w.out.Bytes()
}

// schemaWriter writes tables of fields.
type schemaWriter struct {
	out      bytes.Buffer
	comments map[string]string // by type and field
}

func (w *schemaWriter) printf(format string, args ...any) { fmt.Fprintf(&w.out, format, args...) }

// fields writes a line for every member of a value of the type, and of what lies in it.
func (w *schemaWriter) fields(path string, t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer:
		w.fields(path, t.Elem())
	case reflect.Slice:
		w.fields(path+"[]", t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			w.field(path, t, t.Field(i))
		}
	}
}

func (w *schemaWriter) field(path string, t reflect.Type, f reflect.StructField) {
	tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case f.Anonymous && tag == "":
		w.fields(path, f.Type)
		return
	case !f.IsExported() || tag == "-":
		return
	case tag == "":
		tag = f.Name
	}
	if path != "" {
		tag = path + "." + tag
	}
	kind := kindOf(f.Type)
	w.printf("| `%s` | %s | %s |\n", tag, kind, strings.ReplaceAll(w.comments[t.Name()+"."+f.Name], "|", "\\|"))
	if kind == "object" || kind == "object or null" || strings.HasPrefix(kind, "list of object") {
		w.fields(tag, f.Type)
	}
}

// kindOf says what a value is in JSON.
func kindOf(t reflect.Type) string {
	switch {
	case t.String() == "time.Time":
		return "time"
	case t.String() == "time.Duration":
		return "nanoseconds"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem()) + " or null"
	case reflect.Slice, reflect.Array:
		return "list of " + kindOf(t.Elem())
	case reflect.Struct:
		return "object"
	case reflect.Map:
		return "object of " + kindOf(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

// fieldComments returns the comments of the fields of all types that are printed.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	for _, dir := range []string{".", "internal/live", "../../internal/demo", "../../probe"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok {
					addComments(comments, spec)
				}
				return true
			})
		}
	}
	return comments
}

func addComments(to map[string]string, spec *ast.TypeSpec) {
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range s.Fields.List {
		text := strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
		for _, name := range f.Names {
			to[spec.Name.Name+"."+name.Name] = text
		}
	}
}
