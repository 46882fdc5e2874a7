package lint

// A rule is one convention. It returns a problem for each place that breaks it.
type rule struct {
	name  string
	check func(*tree) []problem
}

// rules are all conventions that the tree is checked against.
var rules = []rule{
	{"imports point down", importsDown},
	{"dependencies", dependencies},
	{"unsafe", unsafeFiles},
	{"cgo and linkname", cgo},
	{"function length", functionLength},
	{"long functions of a package", longShare},
	{"package comments", packageComments},
	{"doc comments", docComments},
	{"skips", skips},
	{"forbidden words", forbiddenWords},
}
