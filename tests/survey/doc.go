// Package survey measures how often programs are in the way of a heap: at the base that is chosen by
// default, and, as a control, at one in the range where Go and V8 place their heaps at random.
//
// SHMHEAP_SURVEY=full go test -v -run Collisions ./tests/survey starts 1000 Go and 500 node processes
// and prints the probabilities with their bounds; without the variable it is a few.
package survey
