// Command shmheap makes, shows, checks and repairs shared heaps, and
// demonstrates them. Run "shmheap --help".
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
