package lint

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// module is the module path; packages are named by what follows it.
const module = "github.com/shmheap/shmheap"

// A problem is one place that breaks a rule.
type problem struct {
	file string
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text) }

// A text is one file of the repository that is not binary. Its path is relative to the root.
type text struct {
	path    string
	content string
}

// A source is one Go file of the module.
type source struct {
	path string
	fset *token.FileSet
	ast  *ast.File
}

// pkg is the path of the package inside the module, for example "internal/mem".
func (s source) pkg() string { return path.Dir(s.path) }

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

func (s source) problem(pos token.Pos, format string, args ...any) problem {
	return problem{s.path, s.line(pos), fmt.Sprintf(format, args...)}
}

// A tree is what the rules read: all text files, and the Go files among them that belong to the
// module. Both are sorted by path.
type tree struct {
	texts   []text
	sources []source
}

// newTree parses the Go files among the texts.
func newTree(texts []text) (*tree, error) {
	slices.SortFunc(texts, func(a, b text) int { return strings.Compare(a.path, b.path) })
	t := &tree{texts: texts}
	fset := token.NewFileSet()
	nested := nestedModules(texts)
	for _, x := range texts {
		if !strings.HasSuffix(x.path, ".go") || outsideModule(x.path, nested) {
			continue
		}
		parsed, err := parser.ParseFile(fset, x.path, x.content, parser.ParseComments)
		if err != nil {
			return nil, err // The error begins with file and line.
		}
		t.sources = append(t.sources, source{x.path, fset, parsed})
	}
	return t, nil
}

// packages returns the sources of each package, by the package's path.
func (t *tree) packages() map[string][]source {
	packages := make(map[string][]source)
	for _, s := range t.sources {
		packages[s.pkg()] = append(packages[s.pkg()], s)
	}
	return packages
}

// nestedModules returns the directories of the modules below the root.
func nestedModules(texts []text) []string {
	var dirs []string
	for _, x := range texts {
		if path.Base(x.path) == "go.mod" && x.path != "go.mod" {
			dirs = append(dirs, path.Dir(x.path)+"/")
		}
	}
	return dirs
}

// outsideModule reports whether the go command leaves the file at p out of "./...".
func outsideModule(p string, nested []string) bool {
	for dir := range strings.SplitSeq(path.Dir(p), "/") {
		if dir == "testdata" || strings.HasPrefix(dir, "_") || (dir != "." && strings.HasPrefix(dir, ".")) {
			return true
		}
	}
	return slices.ContainsFunc(nested, func(dir string) bool { return strings.HasPrefix(p, dir) })
}

// load reads the work tree at root: the files that git tracks and those that it would add.
func load(root string) (*tree, error) {
	paths, err := list(root)
	if err != nil {
		return nil, err
	}
	var texts []text
	for _, p := range paths {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(p)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // Deleted, and the deletion not staged yet.
		}
		if err != nil {
			return nil, err
		}
		if !bytes.ContainsRune(content, 0) {
			texts = append(texts, text{p, string(content)})
		}
	}
	return newTree(texts)
}

// errNoList says that there is no git, or that the tree is no clone.
var errNoList = errors.New("git lists no files")

// list asks git for the files. safe.directory lets it answer where somebody else owns the clone,
// as in a container.
func list(root string) ([]string, error) {
	git := exec.Command("git", "-c", "safe.directory=*", "-C", root,
		"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	out, err := git.Output()
	if err != nil {
		return nil, fmt.Errorf("%w of %s: %w", errNoList, root, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}
