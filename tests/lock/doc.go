// Package lock tests locks between processes, some of which are killed while they hold one.
package lock
