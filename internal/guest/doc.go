// Package guest boots a Linux kernel in QEMU, runs programs in it, and returns what they printed and how
// they ended. It is for tests of what this machine lacks: another processor, another kernel, five levels
// of page tables, modules.
//
//	Fetch, Debian    packages of Debian, kernels with their headers among them, unpacked in the cache
//	Debug            kernels that Debian has none of, configured by the fragments in configs, built in the cache
//	Kernel.Modules   modules for one of these kernels
//	Build            Go programs and test binaries for the guest, static
//	Guest.Run        files and programs -> initramfs -> QEMU -> console -> Result
//	Complaints       what of all that a kernel says means that something is wrong
//
// A guest has no disk and no network. Its root is an initramfs of the files it was given, with /proc,
// /sys, /dev, and a tmpfs at /dev/shm and /tmp. Its first process (package init here) runs the programs
// one after another, as root, tells of each on the console, and turns the machine off. The console is
// the one way out: a line that begins with "@guest " is of the first process, one that begins with
// "@kernel " is from the kernel's log, which the first process repeats, all else is of the programs and
// the kernel. The same program inserts and removes modules: see Tool.
//
// The cache is outside the checkout, as clones come and go: see Cache. Package lab is for tests that need no more than
// a guest with their programs in it.
//
// Only test files import it; internal/lint checks that.
package guest
