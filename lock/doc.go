// Package lock has locks in shared memory that survive whoever holds them.
package lock
