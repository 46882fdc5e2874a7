// Package crash kills processes that share a heap: at every instruction of every operation, and at random.
package crash
