// Package web shows a heap live: a page that needs nothing but itself, the same as JSON, and metrics for Prometheus.
//
// Whoever asks must know the token. Everything is read only: the heap is looked at, and no request changes anything.
package web
