package kmod

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/shmheap/shmheap/internal/sys"
)

// Lengths of the arguments of calls, which each begins with.
const (
	infoSize       = 64
	createSize     = 112
	openSize       = 104
	statSize       = 168
	peersSize      = 32
	queueSize      = 32
	waitSize       = 16
	eventFDSize    = 16
	queueStatSize  = 96
	copiesSize     = 24
	copySize       = 48
	streamOpenSize = 24
	seenSize       = 24
)

// Features is what a module can do, a bit each.
type Features uint64

// Bits of Features.
const (
	FeatureRegion Features = 1 << iota
	FeatureQueues
	FeatureControl
	FeatureStream
	FeatureCopies
	FeaturePunch // storage can be given back
	FeatureSeen  // a stream that is mapped can be waited for
)

var featureNames = []string{"region", "queues", "control", "stream", "copies", "punch", "seen"}

// String names the features.
func (f Features) String() string {
	var names []string
	for n, name := range featureNames {
		if f&(1<<n) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// Info describes the module, and what the caller may have of it.
type Info struct {
	Version      uint32   // of the interface
	Features     Features // what it can do
	PageSize     uint32   // of the system, bytes
	Granule      uint32   // bytes; base and length of a region are multiples
	MaxBytes     uint64   // of a region
	Quota        uint64   // bytes that the caller may have, 0 for no limit
	Used         uint64   // of them
	MaxInstances uint32   // that the caller may have, 0 for no limit
	Instances    uint32   // of them
	MaxChannels  uint32   // of an instance
}

// Device is the module's device, open. Its methods may be called by any number of goroutines.
type Device struct{ file *os.File }

// Open opens the device. Where there is none, or it cannot be used, it returns an *UnavailableError with
// ErrNoModule, ErrPermission, ErrVersion or ErrPlatform.
func Open() (*Device, error) { return openDevice(DevicePath) }

func openDevice(path string) (*Device, error) {
	if runtime.GOOS != "linux" {
		return nil, unavailable(errors.ErrUnsupported)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, unavailable(err)
	}
	d := &Device{f}
	info, err := d.Info()
	if err == nil {
		err = checkVersion(info.Version)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

func checkVersion(version uint32) error {
	if version == Version {
		return nil
	}
	return &UnavailableError{
		ErrVersion, fmt.Errorf("it is version %d, this program speaks %d", version, Version), "use module and program of one release",
	}
}

// Info describes the module.
func (d *Device) Info() (Info, error) { return infoOf(d.file) }

func infoOf(f *os.File) (Info, error) {
	a := infoArgs{Size: infoSize}
	if err := sys.Ioctl(f, iocInfo, &a); err != nil {
		return Info{}, wrap("describe", f.Name(), err)
	}
	return Info{
		Version: a.Version, Features: Features(a.Features), PageSize: a.PageSize, Granule: a.Granule, MaxBytes: a.MaxBytes,
		Quota: a.Quota, Used: a.Used, MaxInstances: a.MaxInstances, Instances: a.Instances, MaxChannels: a.MaxChannels,
	}, nil
}

// Close closes the device. Instances stay open.
func (d *Device) Close() error { return d.file.Close() }

// InstanceOptions say what a new instance is like. The zero value is valid: control words alone, for its
// maker's programs.
type InstanceOptions struct {
	// Mode is who may open it, like a file's. 0 means 0600.
	Mode os.FileMode
	// Base and Bytes are the region, for who maps it himself; a heap is made with Kernel instead. 0 for none.
	Base, Bytes uint64
	// StreamOrder makes a stream of 1<<StreamOrder records for each processor, 1 to 16. 0 means none.
	StreamOrder int
	// StreamSlot is how many bytes a record takes, its header of 24 included: a power of two from 64 to
	// 4096. 0 means 64.
	StreamSlot int
}

// Create makes an instance and opens it. It returns fs.ErrExist when the name is taken, ErrOptions, ErrQuota.
func (d *Device) Create(name string, o *InstanceOptions) (*Instance, error) {
	a, err := o.arguments(name)
	if err != nil {
		return nil, fmt.Errorf("create instance %q: %w", name, err)
	}
	if err := sys.Ioctl(d.file, iocCreate, &a); err != nil {
		return nil, wrap("create instance", name, err)
	}
	return newInstance(a.FD, name, a.ID, a.Base, a.Bytes), nil
}

// arguments checks what the module would refuse with less of an explanation.
func (o *InstanceOptions) arguments(name string) (createArgs, error) {
	var v InstanceOptions
	if o != nil {
		v = *o
	}
	a := createArgs{Size: createSize, Flags: flagNonblock, Base: v.Base, Bytes: v.Bytes, Mode: uint32(v.Mode.Perm())}
	if v.StreamOrder != 0 {
		if v.StreamSlot == 0 {
			v.StreamSlot = shortestSlot
		}
		a.StreamOrder, a.StreamSlot = uint32(v.StreamOrder), uint32(v.StreamSlot)
	}
	if v.StreamOrder < 0 || v.StreamOrder > mostStreamOrder || v.StreamSlot < 0 || v.StreamSlot > longestSlot {
		return a, fmt.Errorf("%w: a stream of order %d, slots of %d bytes", ErrOptions, v.StreamOrder, v.StreamSlot)
	}
	return a, setName(&a.Name, name)
}

// setName checks a name and copies it.
func setName(to *[nameSize]byte, name string) error {
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '/' {
			return fmt.Errorf("%w: name %q", ErrOptions, name)
		}
	}
	if name == "" || len(name) >= nameSize {
		return fmt.Errorf("%w: a name has 1 to %d characters, %q has %d", ErrOptions, nameSize-1, name, len(name))
	}
	copy(to[:], name)
	return nil
}

// Open opens an instance. It returns fs.ErrNotExist, or fs.ErrPermission.
func (d *Device) Open(name string) (*Instance, error) { return d.open(name, 0) }

// OpenCopies opens an instance for Messages of Copies alone: the descriptor can neither map nor read it, and
// so can be given to a program that is not trusted. The errors are Open's.
func (d *Device) OpenCopies(name string) (*Instance, error) { return d.open(name, flagNoMap) }

func (d *Device) open(name string, flags uint32) (*Instance, error) {
	a := openArgs{Size: openSize, Flags: flagNonblock | flags}
	if err := setName(&a.Name, name); err != nil {
		return nil, fmt.Errorf("open instance: %w", err)
	}
	if err := sys.Ioctl(d.file, iocOpen, &a); err != nil {
		return nil, wrap("open instance", name, err)
	}
	return newInstance(a.FD, name, a.ID, a.Base, a.Bytes), nil
}
