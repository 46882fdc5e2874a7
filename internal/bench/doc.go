// Package bench measures the allocator beside others, all in one run and with the same loops.
//
//	session --starts--> worker processes of ours: this program again, attached to a heap by name
//	        --starts--> peer programs in C++ (peers/), compiled at run time, that fork or start threads
//	        <-one line of JSON-- each: operations, seconds, histograms of latencies
//
// A workload is a loop, a table of sizes and a number of workers. The loop is written twice, once in Go
// and once in C++, step by step the same: the same generator fills the table of sizes, blocks are
// replaced in the same order, and of each block the first word is written. A round runs every subject
// once, and the rounds are repeated, so that whatever happens to the machine meanwhile happens to all;
// what is reported is the median of the rounds, with the extremes beside it.
//
// Throughput and latency are measured apart, because reading the clock costs more than what is measured.
// Latencies are counted in processor ticks between fences, less what two reads cost with nothing in
// between.
//
// Where a shared heap has processes a private allocator has threads. That is in its favour: they share
// page tables, and nothing of theirs has to survive a death.
//
// In Go a call through an interface or a type parameter is indirect, so the loops exist once for each
// source: loops_cache_unsafe.go is the original, and a test keeps the copies current.
package bench
