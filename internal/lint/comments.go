package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// packageComments wants one in every package, in a file that godoc reads. A package of tests only
// has it in a test file.
func packageComments(t *tree) []problem {
	var problems []problem
	for pkg, sources := range t.packages() {
		readers := withoutTests(sources)
		if len(readers) == 0 {
			readers = sources
		}
		documented := false
		for _, s := range readers {
			documented = documented || commentText(s.ast.Doc) != ""
		}
		if !documented {
			problems = append(problems, readers[0].problem(readers[0].ast.Package, "package %s has no package comment", pkg))
		}
	}
	return problems
}

// commentText is the comment's text without directives, "" for no comment.
func commentText(groups ...*ast.CommentGroup) string {
	var all strings.Builder
	for _, g := range groups {
		all.WriteString(g.Text())
	}
	return strings.TrimSpace(all.String())
}

// docComments wants a comment on every name that godoc shows to a user of the module. A field or a
// method of an interface may instead be named in the comment of its type, and a constant or
// variable may be covered by the comment of its group.
func docComments(t *tree) []problem {
	var problems []problem
	for _, s := range t.sources {
		if s.isTest() || s.ast.Name.Name == "main" || strings.Contains("/"+s.path, "/internal/") {
			continue
		}
		for _, name := range undocumented(s.ast) {
			problems = append(problems, s.problem(name.pos, "exported %s has no doc comment", name.text))
		}
	}
	return problems
}

// A bare name is an exported one without a comment.
type bare struct {
	pos  token.Pos
	text string
}

func undocumented(file *ast.File) []bare {
	var found []bare
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if visible(decl) && commentText(decl.Doc) == "" {
				found = append(found, bare{decl.Pos(), "function " + decl.Name.Name})
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				found = append(found, undocumentedSpec(decl, spec)...)
			}
		}
	}
	return found
}

// visible reports whether the function, and for a method its type, is exported.
func visible(f *ast.FuncDecl) bool {
	return f.Name.IsExported() && (f.Recv == nil || ast.IsExported(receiver(f.Recv.List[0].Type)))
}

// receiver returns the name of a receiver's type without pointer and type parameters.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.IndexListExpr:
		return receiver(x.X)
	case *ast.ParenExpr:
		return receiver(x.X)
	}
	return ""
}

func undocumentedSpec(decl *ast.GenDecl, spec ast.Spec) []bare {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		if commentText(decl.Doc, spec.Doc, spec.Comment) == "" {
			return exported(spec.Names, decl.Tok.String())
		}
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return nil
		}
		doc := commentText(decl.Doc, spec.Doc, spec.Comment)
		if doc == "" {
			return exported([]*ast.Ident{spec.Name}, "type")
		}
		return undocumentedMembers(spec, doc)
	}
	return nil
}

// undocumentedMembers returns the fields or methods that neither have a comment nor are named in
// the comment of their type.
func undocumentedMembers(spec *ast.TypeSpec, typeDoc string) []bare {
	var found []bare
	for _, field := range members(spec.Type) {
		if commentText(field.Doc, field.Comment) != "" {
			continue
		}
		for _, name := range exported(field.Names, spec.Name.Name+" member") {
			last := name.text[strings.LastIndexByte(name.text, ' ')+1:]
			if !regexp.MustCompile(`\b` + last + `\b`).MatchString(typeDoc) {
				found = append(found, name)
			}
		}
	}
	return found
}

func members(x ast.Expr) []*ast.Field {
	switch x := x.(type) {
	case *ast.StructType:
		return x.Fields.List
	case *ast.InterfaceType:
		return x.Methods.List
	}
	return nil
}

func exported(names []*ast.Ident, kind string) []bare {
	var found []bare
	for _, name := range names {
		if name.IsExported() {
			found = append(found, bare{name.Pos(), fmt.Sprintf("%s %s", kind, name.Name)})
		}
	}
	return found
}
