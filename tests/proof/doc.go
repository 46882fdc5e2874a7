// Package proof tests that real programs of many kinds attach to one heap at its base: Go and C in each
// way to build and link them, under sanitizers and valgrind, and interpreters and virtual machines that
// load a C library. Each also starts without address space randomisation, in the legacy layout and with
// an unlimited stack, and is refused, with nothing left behind, where the range is occupied or a limit
// forbids it.
//
// SHMHEAP_PROOF_RUNS=100 go test -v -timeout 1h ./tests/proof starts each a hundred times instead of a few, and
// half as often in each other environment.
package proof
