//go:build !linux

package main

// systemExaminations are what this system has beside what all have.
var systemExaminations = []func(*app) factJSON{examineWindows}
