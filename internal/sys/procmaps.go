package sys

// ProcessState is what a process does, all its threads together.
type ProcessState struct {
	Ended   bool   // it is a zombie: its parent has not waited for it
	Blocked bool   // no thread runs, is ready to run, or waits for a disk
	Ticks   uint64 // processor time used, in ticks of 10 ms
}

// Settings are what decides where the kernel puts the mappings of a program. What cannot be read is -1.
type Settings struct {
	Kernel     string // release
	Randomise  int64  // sysctl kernel.randomize_va_space
	RandomBits int64  // sysctl vm.mmap_rnd_bits, pages
	StackLimit int64  // RLIMIT_STACK in bytes, 0 for unlimited
}
