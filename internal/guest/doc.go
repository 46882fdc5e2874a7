// Package guest boots a Linux kernel in QEMU, runs programs in it, and returns what they printed and how
// they ended. It is for tests of what this machine lacks: another processor, another kernel, five levels
// of page tables, modules.
//
//	Fetch, Kernel   packages of Debian, unpacked in the cache, .cache/guest of the repository
//	Build           Go programs and test binaries for the guest, static
//	Guest.Run       files and programs -> initramfs -> QEMU -> console -> Result
//
// A guest has no disk and no network. Its root is an initramfs of the files it was given, with /proc,
// /sys, /dev, and a tmpfs at /dev/shm and /tmp. Its first process (package init here) runs the programs
// one after another, as root, tells of each on the console, and turns the machine off. The console is
// the one way out: a line that begins with "@guest " is of the first process, all else of the programs
// and the kernel.
//
// Only test files import it; internal/lint checks that.
package guest
