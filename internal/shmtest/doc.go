// Package shmtest holds what the tests of several packages share.
//
// Only test files import it; internal/lint checks that.
package shmtest
