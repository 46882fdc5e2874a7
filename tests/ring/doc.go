// Package ring runs the tests of what the kernel module has in plain C: kmod/ring.h and kmod/check.h, in user
// space, under sanitizers. They need a C compiler, and no kernel.
package ring
