// Package launch starts a program in which ranges of addresses are reserved before its first
// instruction, so that neither its loader nor its runtime nor its allocator can be in the way of a
// heap.
//
// The launcher becomes the program: it calls exec and keeps its process id. So the terminal, signals,
// job control, inherited descriptors and the exit status are the program's own, and nothing of the
// launcher is left to run beside it. Somebody else has to act at the moment between exec and the first
// instruction, and that is a tracer, a child process which exists for some milliseconds:
//
//	launcher                               tracer
//	start it  -------------------------->  leave the terminal
//	allow it to trace  <-----------------  its process id
//	what to reserve  ------------------->  seize the launcher's thread
//	exec the program  <------------------  done
//	(stopped by the kernel)                save the registers, make it call mmap, compare the address,
//	                                       write the nonce
//	waitid, which is injected too          detach, exit
//	first instruction of the program
//
// The calls are made with instructions that are there already, in the kernel's vdso page: a system call
// and a return. So nothing of the program is written to but dead memory below its stack. The program
// itself waits for its tracer, on the way to its first instruction, lest it find a child that it does
// not know. Its registers are then as the kernel set them but for those of which the ABI says nothing.
//
// Where tracing is denied (seccomp, Yama, another debugger), a program with a fixed address is copied
// to memory with a stamp (package stamp) and the copy is executed. Where that is not possible either,
// the program starts without a reservation and with a warning that says why, or not at all.
//
// What is not handed on: programs that the program executes start without reservations, and a SIG_IGN
// that the launcher inherited is lost, as the Go runtime installs its handlers first, except that of
// SIGHUP and SIGINT.
package launch
