package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/bench"
	"github.com/shmheap/shmheap/internal/demo"
	"github.com/shmheap/shmheap/internal/launch"
	stamper "github.com/shmheap/shmheap/internal/stamp"
	"github.com/shmheap/shmheap/kmod"
	"github.com/shmheap/shmheap/kmod/slab"
	"github.com/shmheap/shmheap/probe"
	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitDamaged = 3
)

// errListen says that the address to serve at cannot be had.
var errListen = errors.New("cannot be served there")

// hints say what to do about an error. The first that matches is printed, with
// the argument of the command for NAME.
var hints = []struct {
	err  error
	hint string
}{
	{launch.ErrPrivileged, "give the program its rights in another way, such as sudo in front of: shmheap run"},
	{errOverlap, "no process can have both: make one of the heaps elsewhere, with: shmheap init OTHER --base ADDR"},
	{probe.ErrTaken, "something else in this process lies where the heap must be mapped; start the program with: shmheap run HEAP -- PROGRAM, or make the heap elsewhere with: shmheap init OTHER --base ADDR"},
	{probe.ErrBeyond, "this kernel or CPU has fewer address bits than the heap's base needs; make it elsewhere with: shmheap init OTHER --base ADDR"},
	{probe.ErrNarrow, "leave --above out: the windows below have room too, as shmheap probe shows"},
	{probe.ErrAddressLimit, "the address space of this process is limited; raise it with: ulimit -v unlimited"},
	{probe.ErrMapCount, "this process has too many mappings; raise the sysctl vm.max_map_count"},
	{probe.ErrForbidden, "see what is where with: shmheap probe, and the same --pid and --profile; without --base, one is chosen that they leave free"},
	{errNoPlace, "see what there is with: shmheap dump NAME; addresses are hexadecimal with 0x in front"},
	{errListen, "choose an address of this machine and a port that is free, such as --listen 127.0.0.1:0"},
	{errUnseen, "only its own user and root may see what a process has mapped, where /proc shows it at all: sudo -u USER shmheap explain NAME --pid PID"},
	{probe.ErrDenied, "only its own user and root may see what a process has mapped: run as that user (sudo -u USER shmheap ...)"},
	{probe.ErrHidden, "/proc is mounted with hidepid, or not at all: run as root or as the user of the process, or remount it (mount -o remount,hidepid=0 /proc)"},
	{probe.ErrNoProcess, "find the id of a process with: pgrep -a PROGRAM"},
	{probe.ErrProfile, "make one with: shmheap survey -o FILE -- PROGRAM ARGS"},
	{errNoProfile, "look how it is spelled, or make one with: shmheap survey -o FILE -- PROGRAM ARGS"},
	{probe.ErrEnded, "survey it where it waits for something: its standard input stays open and empty, so an interactive mode or a server will do"},
	{probe.ErrUnaligned, "an address such as 0x5500_0000_0000 is; or leave --base out, and one is chosen"},
	{probe.ErrNoWindow, "no address range is known to be free here; choose one with --base"},
	{launch.ErrNotReserved, "without --require the program starts all the same, and opens the heap if it is lucky"},
	{stamper.ErrUnsuitable, "reserve the addresses at each start instead, with: shmheap run HEAP -- NAME"},
	{heap.ErrDisagree, "start all members with the same options: size, tables, and number of members"},
	{heap.ErrNoAgreement, "see what a member has in the way with: shmheap explain NAME --pid PID; start members with: shmheap run"},
	{heap.ErrNotExist, "list heaps with: shmheap ls"},
	{heap.ErrExist, "choose another name, or remove the heap with: shmheap rm NAME"},
	{heap.ErrNoDirectory, "make the directory first, for its owner alone: mkdir -m 700 DIRECTORY"},
	{heap.ErrInUse, "see who is attached with: shmheap info NAME, which shows nobody who only reads"},
	{heap.ErrNoSpace, "the file system of the heap is full; free some of it, remove a heap that nobody needs (shmheap ls lists them), or keep heaps on a larger one with --dir"},
	{heap.ErrInsecure, "a private directory and its heaps must be yours alone: chmod 700 the directory, chmod 600 the files"},
	{heap.ErrReadOnly, "leave --read-only out"},
	{heap.ErrGroup, "list the groups with: getent group; a directory for one is made with: install -d -m 2770 -g GROUP DIRECTORY"},
	{heap.ErrPermission, "run as the user that owns the heap, open it with --group, or with --read-only, if it is shared like that, or choose another directory with --dir"},
	{heap.ErrVersion, "use the release of shmheap that made the heap, or make it again"},
	{heap.ErrNotReady, "whoever was creating the heap has not finished, or was killed; remove it with: shmheap rm NAME"},
	{heap.ErrTooManyPeers, "clear away dead peers with: shmheap recover NAME, or make the heap with a larger --max-peers"},
	{alloc.ErrPointers, "raw pointers cannot be moved: make the heap again at another base with: shmheap init OTHER --base ADDR; or move it all the same with --ignore-pointers"},
	{alloc.ErrTooManyCaches, "clear away the caches of dead peers with: shmheap recover NAME"},
	{heap.ErrNotAlone, "end them first; see who is attached with: shmheap info NAME"},
	{heap.ErrBusy, "another process is in the middle of a change; try again"},
	{heap.ErrCorrupt, "see what is wrong with: shmheap check NAME"},
	{heap.ErrName, "a name is one word of letters, digits, . _ and -; a word with a / is a path"},
	{errNoHeaders, "install them, on Debian with: apt-get install linux-headers-$(uname -r); or name others with --kernel"},
	{errNoModuleFile, "build it with: shmheap kmod build"},
	{errNotInserted, "only root may; it must be built for the kernel that runs: shmheap kmod build; what the kernel says of it: dmesg"},
	{kmod.ErrNoModule, "shmheap kmod build makes the module, and as root shmheap kmod load inserts it"},
	{kmod.ErrPermission, "its user and group: ls -l " + kmod.DevicePath},
	{slab.ErrNoModule, "build the modules and insert sample_slab.ko, as doc/kernel.md says: make -C kmod && insmod kmod/samples/sample_slab.ko"},
	{slab.ErrPermission, "the device and /proc/slabinfo are root's: sudo shmheap kmem ..., or chgrp and chmod " + slab.DevicePath},
	{slab.ErrPlatform, "run it in a virtual machine with Linux"},
	{slab.ErrLimit, "the limits are parameters of the module: max_caches, max_bytes, max_objects"},
	{demo.ErrNoFiles, "name a folder with text files: shmheap demo DIR"},
	{exec.ErrNotFound, "look how it is spelled, or write its path"},
	{launch.ErrStart, "it must be a program, or a script with #! and an interpreter, and executable: chmod +x FILE"},
	{syscall.EFBIG, "the size of files is limited: raise it with ulimit -f unlimited, choose a file system that has larger ones, or a smaller --size"},
	{syscall.EMFILE, "too many files are open here: raise the limit with ulimit -n"},
	{syscall.EROFS, "look at it all the same with --read-only; or keep heaps on another file system with --dir"},
	{syscall.ENOSPC, "free some space there, or write elsewhere"},
	{bench.ErrNothing, "see the names of the workloads with: shmheap bench alloc --list; there are also memory and recovery"},
	{demo.ErrTooFewWorkers, "take two workers or more, or let the only one live with --no-kill"},
}

// errNoProfile says that the file of a profile cannot be opened.
var errNoProfile = errors.New("no profile")

// fail reports err and returns the exit status for it.
func (a *app) fail(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	if _, reported := errors.AsType[*reportedError](err); reported {
		return a.status(cmd, err)
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.err, "shmheap: interrupted")
		return a.status(cmd, err)
	}
	fmt.Fprintf(a.err, "shmheap: %v\n", err)
	a.hint(cmd, err)
	return a.status(cmd, err)
}

// reportedError is an error that the output of a command has told already.
type reportedError struct{ error }

func (e *reportedError) Unwrap() error { return e.error }

// status returns the exit status for an error of a command. The statuses below 125 of run are those of
// the program.
func (a *app) status(cmd *cobra.Command, err error) int {
	if own, ok := errors.AsType[*exitError](err); ok {
		return own.status
	}
	switch {
	case cmd.Name() == runCommandName:
		return exitRunFailed
	case !a.ready, errors.Is(err, heap.ErrName), errors.Is(err, heap.ErrSize), errors.Is(err, probe.ErrUnaligned), errors.Is(err, demo.ErrTooFewWorkers),
		errors.Is(err, errBenchFlags), errors.Is(err, bench.ErrNothing), errors.Is(err, slab.ErrOptions):
		return exitUsage
	case errors.Is(err, heap.ErrCorrupt):
		return exitDamaged
	}
	return exitFailed
}

// hint says what to do about an error, if that is known.
func (a *app) hint(cmd *cobra.Command, err error) {
	for _, h := range hints {
		if errors.Is(err, h.err) {
			if h.err == heap.ErrCorrupt && cmd.Name() == "check" {
				return
			}
			fmt.Fprintf(a.err, "hint: %s%s\n", a.personal(h.hint), choice(cmd, h.err))
			return
		}
	}
	if !a.ready {
		fmt.Fprintf(a.err, "hint: %s --help\n", cmd.CommandPath())
		return
	}
	fmt.Fprintf(a.err, "hint: what the command wants: %s --help; what this machine lacks: shmheap doctor\n", cmd.CommandPath())
}

// choices are what some commands offer besides, by a flag.
var choices = []struct {
	flag, hint string
	errs       []error
}{
	{"ignore-unreadable", "go on without it with --ignore-unreadable", []error{probe.ErrDenied, probe.ErrHidden, probe.ErrNoProcess}},
	{"force", "remove it all the same with --force: they keep their mapping, and nobody else can join", []error{heap.ErrInUse}},
}

// choice returns what the command offers in the face of err, to be added to its hint.
func choice(cmd *cobra.Command, err error) string {
	for _, c := range choices {
		if slices.Contains(c.errs, err) && cmd.Flags().Lookup(c.flag) != nil {
			return "; " + c.hint
		}
	}
	return ""
}

// ofHeaps are what hints tell to do with this command.
var ofHeaps = regexp.MustCompile(`\bshmheap (check|dump|explain|info|init|ls|recover|rm|run)\b`)

// personal puts the argument of the command into a hint, and where its heaps are into the commands that it names.
func (a *app) personal(hint string) string {
	where := ""
	if a.dir != "" {
		where += " --dir " + a.dir
	}
	if a.group != "" {
		where += " --group " + a.group
	}
	hint = ofHeaps.ReplaceAllStringFunc(hint, func(s string) string {
		return "shmheap" + where + strings.TrimPrefix(s, "shmheap")
	})
	if len(a.args) == 0 {
		return hint
	}
	return strings.ReplaceAll(hint, "NAME", a.args[0])
}
