// Package join is about processes that start together and agree on the base of a heap: tests from the
// outside, with real processes that block addresses and are killed.
package join
