package sys

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of bpf(2) (include/uapi/linux/bpf.h).
const (
	bpfMapCreate     = 0
	bpfMapUpdate     = 2
	bpfProgLoad      = 5
	bpfObjPin        = 6
	bpfObjGet        = 7
	bpfProgTestRun   = 10
	bpfInfoByFD      = 15
	bpfRawTracepoint = 17
	bpfLinkCreate    = 28
)

// bpf calls bpf(2). The attributes hold addresses of Go memory as numbers, from address; their objects are kept
// alive by the caller. Loading a program gives up with EAGAIN when there is a signal, but not for ever.
func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (uintptr, error) {
	const patience = 50
	for tries := 1; ; tries++ {
		r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
		switch {
		case errno == 0:
			return r, nil
		case errno != unix.EINTR && errno != unix.EAGAIN || tries == patience:
			return 0, os.NewSyscallError("bpf", errno)
		}
	}
}

func bpfFile(fd uintptr, err error, name string) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	return os.NewFile(fd, name), nil
}

// address returns the address of the first byte, 0 of a nil slice. What is there lies in the heap and not on a stack,
// which may move.
func address(b []byte) uint64 { return escaped(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

//go:uintptrescapes
//go:noinline
func escaped(p uintptr) uint64 { return uint64(p) }

// cString returns s with a zero behind it.
func cString(s string) []byte { return append([]byte(s), 0) }

// MapCreate makes a BPF map.
func MapCreate(s *MapSpec) (*os.File, error) {
	attr := struct {
		kind, key, value, entries, flags, inner, node uint32
		name                                          [16]byte
		_                                             [5]uint32
		extra                                         uint64
	}{kind: s.Type, key: s.KeySize, value: s.ValueSize, entries: s.MaxEntries, flags: s.Flags, extra: s.Extra}
	copy(attr.name[:15], s.Name)
	fd, err := bpf(bpfMapCreate, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return bpfFile(fd, err, "bpf-map:"+s.Name)
}

// MapInfo describes an open BPF map. It fails with EINVAL for another kind of descriptor.
func MapInfo(f *os.File) (MapSpec, error) {
	type mapInfo struct {
		kind, id, key, value, entries, flags uint32
		name                                 [16]byte
		_                                    [2]uint32
		_                                    [2]uint64
		_                                    [4]uint32
		extra                                uint64
	}
	info := new(mapInfo)
	attr := struct {
		fd, length uint32
		info       uint64
	}{uint32(f.Fd()), uint32(unsafe.Sizeof(*info)), escaped(uintptr(unsafe.Pointer(info)))}
	if _, err := bpf(bpfInfoByFD, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return MapSpec{}, fmt.Errorf("describe %s: %w", f.Name(), err)
	}
	runtime.KeepAlive(f)
	runtime.KeepAlive(info)
	return MapSpec{Type: info.kind, KeySize: info.key, ValueSize: info.value, MaxEntries: info.entries,
		Flags: info.flags, Extra: info.extra}, nil
}

// MapUpdate stores a value in a BPF map by a system call.
func MapUpdate(f *os.File, key, value []byte) error {
	attr := struct {
		fd, _             uint32
		key, value, flags uint64
	}{fd: uint32(f.Fd()), key: address(key), value: address(value)}
	_, err := bpf(bpfMapUpdate, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	runtime.KeepAlive(f)
	return err
}

// ProgramLoad loads a BPF program. What the verifier has to say of it goes into log, if that is not empty.
func ProgramLoad(s *ProgramSpec, log []byte) (*os.File, error) {
	license := cString(s.License)
	attr := struct {
		kind, count                   uint32
		code, license                 uint64
		level, size                   uint32
		log                           uint64
		version, flags                uint32
		name                          [16]byte
		ifindex, attachType, btf, rec uint32
		_                             uint64
		_, _                          uint32
		_                             uint64
		_, attachBTF                  uint32
		_, _                          uint32
	}{
		kind: s.Type, count: uint32(len(s.Instructions) / 8), code: address(s.Instructions), license: address(license),
		flags: s.Flags, attachType: s.AttachType, attachBTF: s.AttachBTF,
	}
	if len(log) > 0 {
		attr.level, attr.size, attr.log = 1, uint32(len(log)), address(log)
	}
	copy(attr.name[:15], s.Name)
	fd, err := bpf(bpfProgLoad, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive([]any{s, license, log})
	return bpfFile(fd, err, "bpf-program:"+s.Name)
}

// testRun are the attributes of BPF_PROG_TEST_RUN.
type testRun struct {
	fd, result            uint32
	sizeIn, sizeOut       uint32
	in, out               uint64
	repeat, duration      uint32
	contextIn, contextOut uint32
	context, contextBack  uint64
	flags, cpu            uint32
	batch, _              uint32
}

// ProgramRun runs a program of type syscall on the caller's time with context as its argument, which the
// program may change, and returns what it returns.
func ProgramRun(f *os.File, context []byte) (uint32, error) {
	attr := testRun{fd: uint32(f.Fd()), contextIn: uint32(len(context)), context: address(context)}
	_, err := bpf(bpfProgTestRun, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(context)
	runtime.KeepAlive(f)
	return attr.result, err
}

// ProgramTest runs a program that looks at packets on one.
func ProgramTest(f *os.File, packet []byte) (uint32, error) {
	attr := testRun{fd: uint32(f.Fd()), sizeIn: uint32(len(packet)), in: address(packet), repeat: 1}
	_, err := bpf(bpfProgTestRun, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(packet)
	runtime.KeepAlive(f)
	return attr.result, err
}

func object(command uintptr, path string, fd uint32) (uintptr, error) {
	name := cString(path)
	attr := struct {
		path      uint64
		fd, flags uint32
	}{path: address(name), fd: fd}
	r, err := bpf(command, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(name)
	return r, err
}

// ObjectPin gives a map or program a name in a file system for BPF objects.
func ObjectPin(f *os.File, path string) error {
	_, err := object(bpfObjPin, path, uint32(f.Fd()))
	runtime.KeepAlive(f)
	return pathError("pin", path, errors.Unwrap(err))
}

// ObjectGet opens what ObjectPin has given the name.
func ObjectGet(path string) (*os.File, error) {
	fd, err := object(bpfObjGet, path, 0)
	if err != nil {
		return nil, pathError("open", path, errors.Unwrap(err))
	}
	return os.NewFile(fd, path), nil
}

// RawTracepoint attaches a program to a tracepoint of the kernel until the file is closed.
func RawTracepoint(name string, program *os.File) (*os.File, error) {
	text := cString(name)
	attr := struct {
		name  uint64
		fd, _ uint32
	}{name: address(text), fd: uint32(program.Fd())}
	fd, err := bpf(bpfRawTracepoint, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(text)
	runtime.KeepAlive(program)
	return bpfFile(fd, err, "bpf-link:"+name)
}

// LinkCreate attaches a program to a target, a descriptor or the number of a network interface, until the
// file is closed.
func LinkCreate(program *os.File, target, attachType uint32) (*os.File, error) {
	attr := struct {
		program, target, attachType, flags uint32
		_                                  [2]uint64
	}{program: uint32(program.Fd()), target: target, attachType: attachType}
	fd, err := bpf(bpfLinkCreate, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(program)
	return bpfFile(fd, err, "bpf-link")
}
