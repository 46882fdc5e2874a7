package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/kmod"
	"github.com/spf13/cobra"
)

const kmodLong = `Build, insert and try the kernel module shmheap, which shares heaps, queues,
control words and a stream of records with code in the kernel. Linux only.`

const kmodExample = `  shmheap kmod build                    for the running kernel, into the current directory
  sudo shmheap kmod load mode=0660      insert it, with a parameter
  shmheap kmod status                   is it there, and what may I have of it?
  shmheap kmod test                     does it work?`

func (a *app) kmodCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "kmod",
		Short:   "Build, insert and try the kernel module",
		Long:    kmodLong,
		Example: kmodExample,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.kmodBuildCommand(), a.kmodLoadCommand(), a.kmodStatusCommand(), a.kmodTestCommand())
	return cmd
}

const kmodBuildLong = `Build shmheap.ko from the sources that this command carries, with make and the
compiler that the kernel was built with. The headers of the kernel must be
installed: on Debian, linux-headers-RELEASE. Prints the path of the module.`

// kmodBuildFlags are the flags of "kmod build".
type kmodBuildFlags struct {
	kernel string
	output string
}

func (a *app) kmodBuildCommand() *cobra.Command {
	var f kmodBuildFlags
	cmd := &cobra.Command{
		Use:   "build [-- MAKE-ARG...]",
		Short: "Build the module",
		Long:  kmodBuildLong,
		Example: `  shmheap kmod build
  shmheap kmod build --kernel /usr/src/linux-headers-6.12.1-arm64 -- ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-`,
		RunE: func(_ *cobra.Command, args []string) error { return a.kmodBuild(&f, args) },
	}
	cmd.Flags().StringVar(&f.kernel, "kernel", "", "build `directory` of the kernel; that of the running one without it")
	cmd.Flags().StringVarP(&f.output, "output", "o", "shmheap.ko", "`file` to write")
	_ = cmd.MarkFlagDirname("kernel")
	return cmd
}

func (a *app) kmodBuild(f *kmodBuildFlags, makeArgs []string) error {
	kernel, err := buildDirectory(f.kernel)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "shmheap-kmod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, kmod.Sources()); err != nil {
		return err
	}
	build := exec.Command("make", append([]string{"-C", dir, "KDIR=" + kernel, "modules"}, makeArgs...)...)
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the module in %s: %w\n%s", kernel, err, strings.TrimSpace(string(text)))
	}
	module, err := os.ReadFile(filepath.Join(dir, "shmheap.ko"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.output, module, 0o644); err != nil {
		return err
	}
	a.printf("%s\n", f.output)
	return nil
}

var errNoHeaders = errors.New("the kernel's headers are not there")

// buildDirectory returns where modules are built for a kernel, "" for the running one.
func buildDirectory(given string) (string, error) {
	dir := given
	if dir == "" {
		release, err := sys.KernelRelease()
		if err != nil {
			return "", err
		}
		dir = filepath.Join("/lib/modules", release, "build")
	}
	if _, err := os.Stat(filepath.Join(dir, "Makefile")); err != nil {
		return "", fmt.Errorf("%w: %w", errNoHeaders, err)
	}
	return filepath.Abs(dir) // make runs elsewhere
}

// Errors of "kmod load".
var (
	errNoModuleFile = errors.New("there is no module to insert")
	errNotInserted  = errors.New("the module was not inserted")
)

func (a *app) kmodLoadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "load [FILE] [NAME=VALUE...]",
		Short: "Insert the module",
		Long: `Insert the module, ./shmheap.ko or another file, with parameters: those that it
has are told by "modinfo shmheap.ko". Only root may do that.`,
		Example: `  sudo shmheap kmod load
  sudo shmheap kmod load /tmp/shmheap.ko mode=0660`,
		RunE: func(_ *cobra.Command, args []string) error { return kmodLoad(args) },
	}
}

func kmodLoad(args []string) error {
	file := "shmheap.ko"
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		file, args = args[0], args[1:]
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoModuleFile, err)
	}
	defer f.Close()
	if err := sys.InsertModule(f, strings.Join(args, " ")); err != nil {
		return fmt.Errorf("%w: %w", errNotInserted, err)
	}
	return nil
}

// kmodJSON is what "kmod status --json" prints.
type kmodJSON struct {
	Version      uint32 `json:"version"`
	Features     string `json:"features"`
	PageSize     uint32 `json:"page_size"`
	MaxBytes     uint64 `json:"max_bytes"`
	Quota        uint64 `json:"quota"`
	Used         uint64 `json:"used"`
	MaxInstances uint32 `json:"max_instances"`
	Instances    uint32 `json:"instances"`
}

func (a *app) kmodStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show whether the module is inserted, and what one may have of it",
		Long:    "Show whether the module is inserted, what it can do, and what the caller has and may have\nof it. Exit status 1 says that it cannot be used, and the message why.",
		Example: "  shmheap kmod status\n  shmheap kmod status --json | jq .used",
		Args:    arguments(0, 0),
		RunE:    func(*cobra.Command, []string) error { return a.kmodStatus() },
	}
}

func (a *app) kmodStatus() error {
	d, err := kmod.Open()
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Info()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(kmodJSON{
			info.Version, info.Features.String(), info.PageSize, info.MaxBytes, info.Quota, info.Used, info.MaxInstances, info.Instances,
		})
	}
	a.printf("version    %d\nfeatures   %v\nregions    up to %s\n", info.Version, info.Features, size(info.MaxBytes))
	a.printf("memory     %s%s\n", size(info.Used), orUnlimited(info.Quota, size))
	a.printf("instances  %d%s\n", info.Instances, orUnlimited(uint64(info.MaxInstances), number[uint64]))
	return nil
}

// orUnlimited says how much of something one may have.
func orUnlimited(n uint64, write func(uint64) string) string {
	if n == 0 {
		return ", no limit"
	}
	return " of " + write(n)
}
