// Package readme tests what the README promises a reader: its program is compiled and run as it
// stands, by two processes.
package readme
