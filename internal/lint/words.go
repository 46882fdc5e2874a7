package lint

import (
	"path"
	"regexp"
	"strings"
)

// The words are cut in two so that this file does not break its own rule.
var (
	// machinePaths are directories of one person's machine. They count where a path begins: not in
	// network/x and not in $DIR/x.
	machinePaths = []string{"/wo" + "rk/", "/ro" + "ot/"}
	// registries are hosts that a user's own settings choose.
	registries = []string{"proxy.gol" + "ang.org", "registry.np" + "mjs.org", "deb.deb" + "ian.org"}
	// marks stand for unfinished work, which belongs in the issue tracker.
	marks = []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}
)

var words = regexp.MustCompile(`(?:^|[^\w.$)}*-])(` + anyOf(machinePaths) + `)|(` +
	anyOf(registries) + `)|\b(` + anyOf(marks) + `)\b`)

// anyOf returns a regular expression that matches one of the strings.
func anyOf(fixed []string) string {
	quoted := make([]string, len(fixed))
	for i, s := range fixed {
		quoted[i] = regexp.QuoteMeta(s)
	}
	return strings.Join(quoted, "|")
}

// forbiddenWords looks for the words in every text file. It leaves out go.sum, whose hashes may
// spell anything.
func forbiddenWords(t *tree) []problem {
	var problems []problem
	for _, x := range t.texts {
		if path.Base(x.path) == "go.sum" {
			continue
		}
		for i, line := range strings.Split(x.content, "\n") {
			for _, found := range words.FindAllStringSubmatch(line, -1) {
				word := strings.Join(found[1:], "") // Only one of the groups matched.
				problems = append(problems, problem{x.path, i + 1, "forbidden word " + word})
			}
		}
	}
	return problems
}
