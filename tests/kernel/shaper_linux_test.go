package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod/arena"
)

func init() { programs["sender"] = runSender }

// controlGroup makes a control group of the unified hierarchy for the test.
func controlGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	root := ""
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			root = fields[1]
		}
	}
	if root == "" {
		root = t.TempDir()
		if err := syscall.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			shmtest.SkipAnywhere(t, fmt.Sprintf("no unified hierarchy of control groups: %v", err))
		}
		t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	}
	dir := filepath.Join(root, fmt.Sprintf("shmheap-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		shmtest.SkipAnywhere(t, fmt.Sprintf("no control group: %v", err))
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runSender sends packets over the loopback as it is told, "COUNT SIZE", and says how many could be sent. First it enters the
// control group of its argument.
func runSender() error {
	if _, err := attach(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(os.Args[2], "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	if err := bringUpLoopback(); err != nil {
		return err
	}
	sink, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer sink.Close() // not before
	conn, err := net.Dial("udp4", sink.LocalAddr().String())
	if err != nil {
		return err
	}
	for {
		var count, size, sent int
		if _, err := fmt.Sscan(shmtest.Listen(), &count, &size); err != nil {
			return err
		}
		for range count {
			_, err := conn.Write(make([]byte, size))
			switch {
			case err == nil:
				sent++
			case errors.Is(err, syscall.EPERM): // dropped
			default:
				return err
			}
		}
		fmt.Println(sent)
	}
}

// TestShaperTraffic: what a process sends follows one word in the heap, which the other side changes by a store.
func TestShaperTraffic(t *testing.T) {
	l := newLab(t)
	dir := controlGroup(t)
	shape, at := mustNew[arena.Shape](t, l.alloc)
	if err := alloc.StoreRoot(l.alloc, "shape", shape); err != nil {
		t.Fatal(err)
	}
	s, err := arena.NewCgroupShaper(l.heap, dir, at)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	shape.Rate.StoreRelease(arena.NoLimit)
	p := l.start(t, "sender", dir)
	defer p.Kill() // before its control group can go
	send := func(count, size int) (sent int) {
		t.Helper()
		if _, err := fmt.Sscan(p.Ask(fmt.Sprint(count, " ", size)), &sent); err != nil {
			t.Fatal(err)
		}
		return sent
	}
	if got := send(100, 1000); got != 100 {
		t.Errorf("without a limit %d of 100 packets passed", got)
	}
	shape.Rate.StoreRelease(0)
	if got := send(100, 1000); got != 0 {
		t.Errorf("at rate 0 %d packets passed", got)
	}
	// 1028 bytes each, with their headers: a burst of ten, and then what the rate allows.
	shape.Burst.StoreRelease(10280)
	shape.Tokens.StoreRelease(10280)
	const rate = 1 << 20
	before := shape.Bytes.Load()
	shape.Rate.StoreRelease(rate)
	for begin := time.Now(); ; {
		send(50, 1000)
		if took := time.Since(begin); took > 200*time.Millisecond {
			got := float64(shape.Bytes.Load() - before)
			if most := 2*10280 + rate*took.Seconds(); got > most || got < 10280 {
				t.Errorf("%.0f bytes passed in %v, at most %.0f may", got, took, most)
			}
			t.Logf("note: %.0f bytes a second at a rate of %d; %d passed, %d dropped", got/took.Seconds(), rate,
				shape.Passed.Load(), shape.Dropped.Load())
			break
		}
	}
}
