// Package containers tests heaps that processes share across the borders of namespaces and users: pid, mount and
// user namespaces of Linux, the members of a group, and those who may only read. Each test ends where others
// get nothing.
package containers
