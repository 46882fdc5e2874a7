// Package cli tests the command shmheap from the outside: scripts run the
// program as people do.
package cli
