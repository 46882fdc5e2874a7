// Package pages tests what pages back a heap: huge ones of hugetlbfs, transparent huge ones of tmpfs, pages that are
// locked in memory or there before they are touched, and pages on all nodes of a machine.
//
// SHMHEAP_WALK=4GiB go test -v -run Walk ./tests/pages measures what huge pages are worth on a random walk.
package pages
