// Package lint checks the source tree against the project's conventions, as an ordinary test.
//
// A rule reads the tree and returns problems, each with its file and line. The list of rules is in
// rules.go; beside each rule's file stands a test that shows the rule failing on a few made-up
// lines, because a rule that cannot fail checks nothing.
//
// Go files are parsed and not compiled, so the files of all systems and build tags are checked on
// any machine. Nothing imports this package.
package lint
