package samples

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shmheap/shmheap/internal/sys"
	"github.com/shmheap/shmheap/lock"
)

// QEMU's device edu (docs/specs/edu.rst there): a BAR of registers.
const (
	eduVendor, eduDevice = "0x1234", "0x11e8"

	eduID      = 0x00 // 32 bits: version, and 0xed below
	eduInvert  = 0x04 // 32 bits: reads as the inverse of what was written
	eduStatus  = 0x24 // 32 bits: the interrupts that are pending
	eduRaise   = 0x60 // 32 bits: adds to them
	eduScratch = 0x80 // 64 bits: a DMA address, kept as written while nobody starts a transfer
)

// eduPath returns the directory of the device in sysfs.
func eduPath() (string, error) {
	dirs, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		vendor, _ := os.ReadFile(filepath.Join(dir, "vendor"))
		device, _ := os.ReadFile(filepath.Join(dir, "device"))
		if strings.TrimSpace(string(vendor)) == eduVendor && strings.TrimSpace(string(device)) == eduDevice {
			return dir, nil
		}
	}
	return "", fmt.Errorf("device edu: %w", os.ErrNotExist)
}

// mapBAR maps the registers through sysfs: no driver has a part in it.
func mapBAR() (registers []byte, err error) {
	dir, err := eduPath()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "enable"), []byte("1"), 0); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "resource0"), os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	registers, _, err = sys.MapDevice(f, os.Getpagesize())
	return registers, err
}

func register[T uint32 | uint64](t *testing.T, registers []byte, offset uint64) lock.Register[T] {
	t.Helper()
	r, err := lock.RegisterAt[T](registers, offset)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRegisters: reads and writes arrive at the device whole, once, and with their width.
func TestRegisters(t *testing.T) {
	needGuest(t)
	registers, err := mapBAR()
	if err != nil {
		t.Fatal(err)
	}
	if id := register[uint32](t, registers, eduID).Read(); id&0xff != 0xed {
		t.Fatalf("identification %#x", id)
	}
	invert := register[uint32](t, registers, eduInvert)
	for _, v := range []uint32{0, 1, 0xdeadbeef, 0xffffffff} {
		if invert.Write(v); invert.Read() != ^v {
			t.Errorf("wrote %#x, read %#x", v, invert.Read())
		}
	}
	// The device answers a read of eight bytes here with all ones, and takes no such write.
	if wide := register[uint64](t, registers, eduInvert&^7).Read(); wide != 1<<64-1 {
		t.Errorf("eight bytes of registers of four: %#x", wide)
	}
	scratch := register[uint64](t, registers, eduScratch)
	for _, v := range []uint64{0, 0x0123456789abcdef, 1<<64 - 1} {
		if scratch.Write(v); scratch.Read() != v {
			t.Errorf("wrote %#x, read %#x", v, scratch.Read())
		}
	}
}

// TestAtomicsAreRefused: no lock may lie in the memory of a device, nor across its border.
func TestAtomicsAreRefused(t *testing.T) {
	needGuest(t)
	registers, err := mapBAR()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{registers, registers[:8], registers[eduScratch : eduScratch+8]} {
		if err := lock.CheckAtomics(part); !errors.Is(err, lock.ErrNotCacheable) {
			t.Errorf("%d bytes of a PCI resource: %v, want %v", len(part), err, lock.ErrNotCacheable)
		}
	}
	if err := lock.CheckAtomics(make([]byte, 4096)); err != nil {
		t.Errorf("ordinary memory: %v", err)
	}
}
