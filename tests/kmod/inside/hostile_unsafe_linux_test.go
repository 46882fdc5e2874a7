package inside

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/shmheap/shmheap/kmod"
)

// Numbers of the module's calls (kmod/uapi/shmheap_kmod.h) and what their arguments have, as far as a stranger needs
// it: number, length, and how to fill it sensibly.
var calls = []struct {
	number uintptr
	bytes  int
	fill   func(s *strangerState, b []byte)
}{
	{0xc040b700, 64, nil},
	{0xc070b701, 112, func(s *strangerState, b []byte) {
		copy(b[8:], fmt.Sprintf("stranger-%d-%d", os.Getpid(), s.Uint32N(8)))
		put64(b[72:], uint64(0x5600_0000_0000)+uint64(s.Uint32N(64))<<24)
		put64(b[80:], uint64(s.Uint32N(8))<<16)
		put32(b[92:], 64<<s.Uint32N(8))
		put32(b[96:], s.Uint32N(8))
	}},
	{0xc068b702, 104, func(s *strangerState, b []byte) { copy(b[8:], s.name) }},
	{0xc0a8b710, 168, nil},
	{0x0000b711, 0, nil},
	{0xc020b712, 32, func(s *strangerState, b []byte) { put64(b[8:], s.deadline()); put64(b[16:], uint64(s.Uint32N(4))) }},
	{0xc020b713, 32, func(s *strangerState, b []byte) {
		put64(b[8:], s.queues[s.IntN(len(s.queues))])
		put32(b[16:], s.Uint32N(5))
		put32(b[20:], s.Uint32N(5))
		put32(b[24:], s.pick32(0, 256, 64, s.Uint32()))
	}},
	{0xc018b714, 24, nil},
	{0xc018b715, 24, func(s *strangerState, b []byte) {
		put32(b[8:], s.Uint32N(8))
		put32(b[12:], s.Uint32N(13))
		put32(b[16:], 32+8*s.Uint32N(200))
	}},
	{0xc030b716, 48, fillCopy},
	{0xc030b717, 48, fillCopy},
	{0xc010b720, 16, func(s *strangerState, b []byte) { put64(b[8:], s.deadline()) }},
	{0x0000b721, 0, nil},
	{0xc010b722, 16, func(s *strangerState, b []byte) { put32(b[8:], uint32(s.fd())) }},
	{0xc060b723, 96, nil},
	{0xc018b730, 24, func(s *strangerState, b []byte) {
		put64(b[8:], uint64(s.address()))
		put32(b[16:], s.pick32(uint32(runtime.NumCPU()), s.Uint32()))
	}},
}

func fillCopy(s *strangerState, b []byte) {
	put32(b[8:], 2)
	put32(b[12:], s.Uint32N(512))
	put64(b[16:], s.deadline())
	put64(b[24:], uint64(s.address()))
	put32(b[44:], s.Uint32N(300))
}

func put32(b []byte, v uint32) { *(*uint32)(unsafe.Pointer(&b[0])) = v }
func put64(b []byte, v uint64) { *(*uint64)(unsafe.Pointer(&b[0])) = v }

// strangerState is a process that does whatever a process can do with descriptors of the module. All it does
// follows from its seed, but for what others do meanwhile.
type strangerState struct {
	*rand.Rand
	name    string
	queues  []uint64 // offsets of queues in the region
	base    uintptr
	bytes   uintptr
	control uintptr
	fds     []int
	arg     []byte // two pages, the second one without access
	done    *atomic.Int64
}

// stranger is the program: SEED MILLISECONDS OFFSET..., with the instance as descriptor 3. By its name it might not
// find it: one of the others may have unlinked it.
func stranger() error {
	seed, err := strconv.ParseUint(os.Args[1], 10, 64)
	if err != nil {
		return err
	}
	milliseconds, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	var queues []uint64
	for _, text := range os.Args[3:] {
		off, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		queues = append(queues, off)
	}
	i, err := kmod.Adopt(os.NewFile(3, "instance"))
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1) // the collector need not look at what is mapped and gone
	var done atomic.Int64
	end := time.Now().Add(time.Duration(milliseconds) * time.Millisecond)
	over := make(chan error, 3)
	for n, act := range []func(*strangerState){(*strangerState).scribble, (*strangerState).call, (*strangerState).move} {
		s, err := newStranger(i, rand.New(rand.NewPCG(seed, uint64(n))), queues, &done)
		if err != nil {
			return err
		}
		go func() { over <- s.run(end, act) }()
	}
	var all error
	for range 3 {
		select {
		case err := <-over:
			all = errors.Join(all, err)
		case <-time.After(time.Until(end) + 2*time.Second): // one waits for ever
		}
	}
	fmt.Println(done.Load())
	return all
}

func newStranger(i *kmod.Instance, random *rand.Rand, queues []uint64, done *atomic.Int64) (*strangerState, error) {
	s := &strangerState{Rand: random, name: i.Name(), queues: queues, base: uintptr(i.Base()), bytes: uintptr(i.Bytes()), done: done}
	device, err := syscall.Open(kmod.DevicePath, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f, err := i.File()
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	s.fds = []int{device, fd}
	s.control, err = mmap(0, uintptr(os.Getpagesize()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED, fd, 1<<56)
	if err != nil {
		return nil, err
	}
	s.mapRegion()
	two, err := mmap(0, 2*uintptr(os.Getpagesize()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON, -1, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Mprotect(memory(two+uintptr(os.Getpagesize()), uintptr(os.Getpagesize())), syscall.PROT_NONE); err != nil {
		return nil, err
	}
	s.arg = memory(two, 2*uintptr(os.Getpagesize()))
	return s, nil
}

// mapRegion maps it where it belongs, if nobody has yet.
func (s *strangerState) mapRegion() {
	const noReplace = 0x100000
	_, _ = mmap(s.base, s.bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|noReplace, s.fds[1], 0)
}

func mmap(addr, length uintptr, prot, flags, fd int, offset uintptr) (uintptr, error) {
	p, _, errno := syscall.Syscall6(syscall.SYS_MMAP, addr, length, uintptr(prot), uintptr(flags), uintptr(fd), offset)
	if errno != 0 {
		return 0, errno
	}
	return p, nil
}

// memory makes bytes of an address that Go does not know.
func memory(address, length uintptr) []byte {
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), length)
}

// run acts until the end. What is not mapped at the moment makes a panic, which is no reason to stop.
func (s *strangerState) run(end time.Time, act func(*strangerState)) error {
	debug.SetPanicOnFault(true)
	for time.Now().Before(end) {
		func() {
			defer func() { _ = recover() }()
			for range 100 {
				act(s)
				s.done.Add(1)
			}
		}()
	}
	return nil
}

// addressOf returns where bytes are.
func addressOf(b []byte) int64 { return int64(uintptr(unsafe.Pointer(&b[0]))) }

func (s *strangerState) fd() int { return s.fds[s.IntN(len(s.fds))] }

func (s *strangerState) pick32(v ...uint32) uint32 { return v[s.IntN(len(v))] }

// deadline is now, soon, nonsense, and rarely never.
func (s *strangerState) deadline() uint64 {
	var now syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	switch s.IntN(8) {
	case 0:
		return s.Uint64() >> s.Uint32N(64) & (1<<40 - 1)
	case 1, 2, 3:
		return uint64(now.Nano()) + uint64(s.Uint32N(2_000_000))
	}
	return 0
}

// address is where an argument may lie: at the end of a page that is followed by nothing, in the region, in the
// control page, in the kernel, or nowhere.
func (s *strangerState) address() uintptr {
	page := uintptr(os.Getpagesize())
	switch s.IntN(8) {
	case 0:
		return s.base + uintptr(s.Uint64N(uint64(s.bytes)))
	case 1:
		return s.control + uintptr(s.Uint64N(uint64(page)))
	case 2:
		return ^uintptr(0) - uintptr(s.Uint32())
	case 3:
		return uintptr(s.Uint32N(1 << 12))
	case 4:
		return uintptr(s.Uint64())
	}
	return uintptr(unsafe.Pointer(&s.arg[page-uintptr(s.Uint32N(512))]))
}

// scribble writes into shared pages: anything, near misses of what is there, and words of elsewhere.
func (s *strangerState) scribble() {
	at := s.base + uintptr(s.Uint64N(uint64(s.bytes)))&^7
	switch s.IntN(4) {
	case 0:
		at = s.control + uintptr(s.Uint32N(4096))&^7
	case 1, 2: // where the queues are
		at = s.base + uintptr(s.queues[s.IntN(len(s.queues))]) + uintptr(s.Uint32N(2048))&^7
	}
	word := (*uint64)(unsafe.Pointer(&memory(at, 8)[0]))
	old := atomic.LoadUint64(word)
	switch s.IntN(6) {
	case 0:
		atomic.StoreUint64(word, s.Uint64())
	case 1:
		atomic.StoreUint64(word, old^1<<s.Uint32N(64))
	case 2:
		atomic.AddUint64(word, uint64(s.IntN(17)-8))
	case 3:
		atomic.StoreUint64(word, 1<<63|old&(4095<<51)|s.Uint64N(uint64(s.bytes)/8))
	case 4:
		other := s.base + uintptr(s.queues[s.IntN(len(s.queues))]) + uintptr(s.Uint32N(2048))&^7
		atomic.StoreUint64(word, atomic.LoadUint64((*uint64)(unsafe.Pointer(&memory(other, 8)[0]))))
	case 5:
		atomic.StoreUint64(word, s.Uint64N(64))
	}
}

// call makes a call of the module: a sensible one, in most cases with something wrong in it.
func (s *strangerState) call() {
	if s.IntN(16) == 0 {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, uintptr(s.fd()), uintptr(s.Uint32()), s.address())
		return
	}
	if s.IntN(8) == 0 {
		s.file()
		return
	}
	c := calls[s.IntN(len(calls))]
	page := os.Getpagesize()
	b := s.arg[page-max(c.bytes, 8) : page] // reading further would fault
	clear(b)
	if c.bytes > 0 {
		put32(b, uint32(c.bytes))
	}
	if c.fill != nil {
		c.fill(s, b)
	}
	number, at := c.number, uintptr(unsafe.Pointer(&b[0]))
	switch s.IntN(8) {
	case 0:
		put32(b, s.pick32(0, 4, uint32(c.bytes)-1, uint32(c.bytes)+8, 4096, 1<<31, ^uint32(0)))
	case 1:
		b[s.IntN(len(b))] = byte(s.Uint32())
	case 2:
		put32(b[4:], 1<<s.Uint32N(32))
	case 3:
		number = number&^(0x3fff<<16) | uintptr(s.Uint32N(1<<14))<<16
	case 4:
		at = s.address()
	}
	got, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s.fd()), number, at)
	if errno == 0 && got == 0 {
		s.adopt(c.number, b)
	}
}

// adopt keeps a descriptor that a call has returned.
func (s *strangerState) adopt(number uintptr, b []byte) {
	at := map[uintptr]int{0xc070b701: 100, 0xc068b702: 96, 0xc020b713: 28, 0xc018b714: 16}[number]
	if at == 0 {
		return
	}
	fd := int(*(*int32)(unsafe.Pointer(&b[at])))
	if fd <= 2 {
		return
	}
	if len(s.fds) < 24 {
		s.fds = append(s.fds, fd)
		return
	}
	n := 2 + s.IntN(len(s.fds)-2)
	_ = syscall.Close(s.fds[n])
	s.fds[n] = fd
}

// file does what is done to files.
func (s *strangerState) file() {
	fd, at, n := uintptr(s.fd()), s.address(), uintptr(s.Uint32N(1<<17))
	off := uintptr(s.Uint64N(2 * uint64(s.bytes)))
	switch s.IntN(11) {
	case 0:
		_, _, _ = syscall.Syscall(syscall.SYS_READ, fd, at, n)
	case 1:
		_, _, _ = syscall.Syscall(syscall.SYS_WRITE, fd, at, n)
	case 2:
		_, _, _ = syscall.Syscall6(syscall.SYS_PREAD64, fd, at, n, off, 0, 0)
	case 3:
		_, _, _ = syscall.Syscall6(syscall.SYS_PWRITE64, fd, at, n, off, 0, 0)
	case 4:
		_, _, _ = syscall.Syscall6(syscall.SYS_FALLOCATE, fd, uintptr(s.pick32(0, 3, 1, s.Uint32())), off&^0xffff, n&^0xffff, 0, 0)
	case 5:
		_ = syscall.Ftruncate(int(fd), int64(off))
	case 6:
		_ = syscall.Fchmod(int(fd), s.Uint32N(0o1000)|0o600)
	case 7:
		lock := syscall.Flock_t{Type: int16(s.IntN(3)), Start: int64(off), Len: int64(s.IntN(9))}
		_ = syscall.FcntlFlock(fd, syscall.F_SETLK, &lock)
	case 8:
		if again, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", fd), syscall.O_RDWR|syscall.O_CLOEXEC, 0); err == nil {
			s.adopt(0xc020b713, append(make([]byte, 28), (*[4]byte)(unsafe.Pointer(&[]int32{int32(again)}[0]))[:]...))
		}
	case 9:
		s.poll(int32(fd))
	case 10:
		_, _ = syscall.Seek(int(fd), int64(off), s.IntN(5))
	}
}

func (s *strangerState) poll(fd int32) {
	type pollFD struct {
		fd              int32
		events, revents int16
	}
	p := pollFD{fd, int16(s.Uint32()), 0}
	timeout := syscall.NsecToTimespec(int64(s.IntN(1_000_000)))
	_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
}

// move plays with mappings, and forks.
func (s *strangerState) move() {
	page := uintptr(os.Getpagesize())
	part := s.base + uintptr(s.Uint64N(uint64(s.bytes)))&^(page-1)
	length := page << s.Uint32N(8)
	switch s.IntN(10) {
	case 0:
		_, _, _ = syscall.Syscall(syscall.SYS_MUNMAP, part, length, 0)
	case 1:
		_, _, _ = syscall.Syscall(syscall.SYS_MUNMAP, s.base, s.bytes, 0)
	case 2:
		_, _, _ = syscall.Syscall(syscall.SYS_MPROTECT, part, length, uintptr(s.IntN(8)))
	case 3:
		_, _, _ = syscall.Syscall(syscall.SYS_MPROTECT, s.base, s.bytes, uintptr(s.pick32(0, 1, 3, 3, 3, 5, 7)))
	case 4:
		_, _, _ = syscall.Syscall6(syscall.SYS_MREMAP, part, length, length<<s.Uint32N(2), 1, 0, 0)
	case 5:
		p, err := mmap(0, page<<s.Uint32N(10), s.IntN(8), int(s.pick32(1, 2, 3)), s.fd(), uintptr(s.pick32(0, uint32(page), uint32(s.bytes))))
		if err == nil {
			_, _, _ = syscall.Syscall(syscall.SYS_MUNMAP, p, page, 0)
		}
	case 6:
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, part, length, uintptr(s.IntN(26)))
	case 7:
		if s.IntN(20) == 0 {
			s.fork()
		}
	default:
		s.mapRegion()
	}
}

// fork makes a child that has the mappings, writes into them and ends: without Go's scheduler, which is not in it.
func (s *strangerState) fork() {
	word := (*uint64)(unsafe.Pointer(&memory(s.control, 8)[0]))
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		*word = 1
		for {
			_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	if errno == 0 {
		_, _ = syscall.Wait4(int(pid), nil, 0, nil)
	}
}
