// Package stamp writes reservations of address ranges into executables, so that the kernel makes them
// at exec, before the program's first instruction.
//
// A stamp is a loadable segment without access, which lies behind the end of the file:
//
//	before                              after
//	LOAD  0x400000    r-x  file         LOAD  0x400000    r-x  file
//	LOAD  0x4a0000    rw-  file         LOAD  0x4a0000    rw-  file
//	NOTE  0x400270    r--  build id     LOAD  base  ---  offset behind the file, filesz = memsz = size
//	TLS   ...                           TLS   ...
//
// The table of program headers is not made longer, because it is mapped and something follows it: a
// note gives way. The section of the note stays, and so does all the rest of the file. The details
// follow the kernel's loader (fs/binfmt_elf.c): with filesz = memsz the segment is a private mapping
// of the file, which is charged for nothing; with filesz = 0 it would be writable memory. An offset
// behind the file keeps the loader from taking the segment for the one that holds the program headers.
//
// This works for programs with a fixed address (ET_EXEC) only. The kernel moves all segments of a
// position-independent one by a random distance, the stamp included. The heap of the C library (brk)
// begins behind the last segment, so in a stamped program it lies behind the range. Where the range is
// impossible for the kernel, say because of RLIMIT_AS, exec kills the process.
package stamp
