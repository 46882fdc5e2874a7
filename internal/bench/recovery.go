package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shmheap/shmheap/alloc"
	"github.com/shmheap/shmheap/heap"
	"github.com/shmheap/shmheap/internal/sys"
)

// Recovery is what a death costs the others.
type Recovery struct {
	Blocks   uint64 // that the slabs of the killed process had, in use or not
	Noticed  Spread // milliseconds from the kill until Heap.Alive says no
	Recover  Spread // milliseconds of Allocator.Recover
	PerBlock Spread // nanoseconds of that for each block
}

// loopHold is what the process does that is killed: it allocates, reports and waits.
const loopHold = "hold"

// heldBlocks are 64 bytes each.
const heldBlocks = 1 << 20

// hold is the body of the process that is killed.
func hold(h *heap.Heap, out io.Writer) error {
	a, err := alloc.Open(h)
	if err != nil {
		return err
	}
	c, err := a.NewCache()
	if err != nil {
		return err
	}
	for range heldBlocks {
		if _, err := c.Alloc(64); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(out).Encode(result{Ops: heldBlocks}); err != nil {
		return err
	}
	select {}
}

// measureRecovery kills a process in each round.
func (s *session) measureRecovery(ctx context.Context) (*Recovery, error) {
	r := new(Recovery)
	var noticed, recovered, perBlock []float64
	for range s.Rounds {
		y, err := s.newYard()
		if err != nil {
			return nil, err
		}
		n, t, blocks, err := s.killHolder(ctx, y)
		if err = errors.Join(err, y.close()); err != nil {
			return nil, fmt.Errorf("measure recovery: %w", err)
		}
		r.Blocks = blocks
		noticed = append(noticed, n.Seconds()*1e3)
		recovered = append(recovered, t.Seconds()*1e3)
		perBlock = append(perBlock, float64(t.Nanoseconds())/float64(blocks))
	}
	r.Noticed, r.Recover, r.PerBlock = spread(noticed), spread(recovered), spread(perBlock)
	return r, nil
}

func (s *session) killHolder(ctx context.Context, y *yard) (noticed, recovered time.Duration, blocks uint64, err error) {
	c := &child{name: "holder", cmd: s.Command(&Job{Subject: SubjectCache, Loop: loopHold, Sizes: sizesSmall, Workers: 1}, y.name)}
	out, err := c.start()
	if err != nil {
		return 0, 0, 0, err
	}
	stop := context.AfterFunc(ctx, func() { c.cmd.Process.Kill() })
	defer stop()
	defer c.cmd.Wait()
	defer c.cmd.Process.Kill()
	var ready result
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		return 0, 0, 0, fmt.Errorf("the holder said nothing: %w: %s", err, c.stderr.String())
	}
	peer, err := y.peerOf(c.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	stats, err := y.alloc.Stats()
	if err != nil {
		return 0, 0, 0, err
	}
	killed := time.Now()
	c.cmd.Process.Kill()
	if err := y.waitForDeath(peer); err != nil {
		return 0, 0, 0, err
	}
	noticed, begun := time.Since(killed), time.Now()
	if _, err := y.alloc.Recover(); err != nil {
		return 0, 0, 0, err
	}
	return noticed, time.Since(begun), stats.Live + stats.FreeBlocks, nil
}

var errNoPeer = errors.New("the process is no peer")

func (y *yard) peerOf(pid int) (heap.PeerID, error) {
	peers, err := y.heap.Peers()
	for _, p := range peers {
		if p.PID == pid {
			return p.ID, err
		}
	}
	return 0, errors.Join(errNoPeer, err)
}

// waitForDeath asks as often as the scheduler lets it.
func (y *yard) waitForDeath(peer heap.PeerID) error {
	for end := time.Now().Add(time.Minute); ; sys.Yield() {
		alive, err := y.heap.Alive(peer)
		if err != nil || !alive {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("peer %v was killed a minute ago and is alive", peer)
		}
	}
}
