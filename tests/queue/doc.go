// Package queue tests queues between processes, some of which are killed.
package queue
