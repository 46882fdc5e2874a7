package demo

import "errors"

// ErrDiffers is returned by [Run], with a complete report, when the shared
// index and the private one, or the allocator's account and the reader's, do
// not agree.
var ErrDiffers = errors.New("the accounts differ")

// ErrNoFiles is returned by [Run] for a folder without text files.
var ErrNoFiles = errors.New("no text files found")

// ErrTooFewWorkers is returned by [Run] when the only worker would be killed.
var ErrTooFewWorkers = errors.New("nobody would be left to take over")
