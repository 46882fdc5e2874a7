// Package arena keeps heaps in BPF arenas.
package arena
