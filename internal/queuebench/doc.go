// Package queuebench measures queues and locks between processes beside others, all in one run.
//
//	session --starts--> processes of ours: this program again, attached to a heap by name
//	        --starts--> the peers' program (peers/queue.cc), compiled at run time, which forks
//	        <-one line of JSON-- of the process that measures: operations and nanoseconds
//
// A workload is a number of operations in two or three processes, each on a processor of its own as far as
// there are so many. A round runs every subject of every workload once, and the rounds are repeated, so
// that whatever happens to the machine meanwhile happens to all. What is compared is the best round of
// each, as disturbances only ever make it slower; the median stands beside it. Of processes that sleep it
// is the median of many: whether one was deep asleep when it was woken is no disturbance.
//
// Where others use the machine too, processes that spin measure the scheduler. RealTime puts them in
// front of everything else for the fraction of a second that a measurement takes.
package queuebench
