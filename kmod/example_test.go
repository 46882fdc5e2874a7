package kmod_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/kmod"
)

func ExampleOpen() {
	d, err := kmod.Open()
	if e, ok := errors.AsType[*kmod.UnavailableError](err); ok {
		log.Fatal(e.Help) // such as to insert the module
	}
	defer d.Close()
	info, err := d.Info()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Version, info.Features)
	// Output: 1 region queues control stream copies punch seen
}

// A number for the kernel: a module that has found the instance by its name reads it with shmheap_ctl_read.
func ExampleInstance_Control() {
	d, err := kmod.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	i, err := d.Create("scheduler-1", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer i.Close()
	rate, err := i.Control(0)
	if err != nil {
		log.Fatal(err)
	}
	rate.Store(125_000_000)
	fmt.Println(rate.Load())
	// Output: 125000000
}

// A heap in memory of the kernel, and a queue whose other end is in the kernel.
func ExampleDevice_Kernel() {
	d, err := kmod.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h, err := heap.Create("orders", &heap.Options{Size: 16 << 20, Dir: filepath.Join(dir, "heaps"), Kernel: d.Kernel(nil)})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	a, err := alloc.Open(h)
	if err != nil {
		log.Fatal(err)
	}
	channel, err := kmod.Of(h).Channel(a, 0, nil)
	if err != nil {
		log.Fatal(err)
	}
	commands, err := channel.Commands()
	if err != nil {
		log.Fatal(err)
	}
	defer commands.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = commands.Receive(ctx) // nobody in the kernel sends
	fmt.Println(err)
	// Output: context deadline exceeded
}

// Records of the kernel, as long as they come.
func ExampleStream_Records() {
	d, err := kmod.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	i, err := d.Create("tracer", &kmod.InstanceOptions{StreamOrder: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer i.Close()
	s, err := i.Stream(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	for r, err := range s.Records(ctx) {
		switch {
		case err != nil:
			fmt.Println("over:", errors.Is(err, context.DeadlineExceeded))
		case r.Lost > 0:
			fmt.Println("missed", r.Lost, "of processor", r.CPU)
		default:
			fmt.Println(r.Seq, r.Data)
		}
	}
	fmt.Println("lost:", s.Lost())
	// Output:
	// over: true
	// lost: 0
}
