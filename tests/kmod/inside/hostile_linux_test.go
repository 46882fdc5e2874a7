package inside

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
	"github.com/shmheap/shmheap/kmod"
	"github.com/shmheap/shmheap/queue"
)

// number is the value of an environment variable, or what is taken without it.
func number(t testing.TB, variable string, otherwise uint64) uint64 {
	t.Helper()
	text, ok := os.LookupEnv(variable)
	if !ok {
		return otherwise
	}
	return must[uint64](t)(strconv.ParseUint(text, 10, 64))
}

// attacked is an instance with queues in all roles and copies, in which the partner works. It returns the offsets of
// the queues.
func attacked(t *testing.T, d *kmod.Device) (*kmod.Instance, []string) {
	t.Helper()
	_, a, i := newHeap(t, d, &kmod.InstanceOptions{StreamOrder: 5})
	var offsets []string
	for n, roles := range [][]kmod.Role{
		{kmod.Command, kmod.Reply}, {kmod.Command, kmod.Reply, kmod.Fill, kmod.Completion}, nil, {kmod.Command},
	} {
		for _, role := range roles {
			q := must[*queue.Queue](t)(queue.New(a, &queue.Options{Kind: queue.MPMC, Capacity: 64}))
			offsets = append(offsets, strconv.FormatUint(q.Offset(), 10))
			block := 0
			if n == 1 {
				block = 256
			}
			attached := must[*kmod.Attached](t)(i.Attach(n, role, q, block))
			t.Cleanup(func() { attached.Close() })
		}
	}
	must[*kmod.Copies](t)(i.MakeCopies(2, nil))
	for word, value := range map[int]uint64{wordRecords: 8, wordPush: 8, wordBase: 1 << 20} {
		must[kmod.Word](t)(i.Control(word)).Store(value)
	}
	partner(t, i.Name())
	return i, offsets
}

// TestHostile lets strangers do to an instance in use whatever they can, and kills some of them meanwhile.
// The module must go on, and nothing must be left of them.
func TestHostile(t *testing.T) {
	d := device(t)
	before := must[kmod.Info](t)(d.Info())
	seed := number(t, "KMOD_SEED", rand.Uint64()>>1)
	end := time.Now().Add(time.Duration(number(t, "KMOD_HOSTILE", 5)) * time.Second)
	t.Logf("note: KMOD_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	t.Run("storm", func(t *testing.T) {
		i, offsets := attacked(t, d)
		done, rounds, killed := 0, 0, 0
		var died []string
		for ; time.Now().Before(end); rounds++ {
			var strangers []*shmtest.Process
			for range 2 {
				strangers = append(strangers, startStranger(t, i, random.Uint64(), offsets))
			}
			if rounds%2 == 1 {
				time.Sleep(time.Duration(random.IntN(800)) * time.Millisecond)
				strangers[0].Kill()
				killed++
			}
			for _, s := range strangers {
				if state := s.Wait(); !state.Success() && !s.Killed() {
					died = append(died, s.Dump())
				}
				n, _ := strconv.Atoi(strings.TrimSpace(s.Heard()))
				done += n
			}
		}
		t.Logf("note: %d acts in %d rounds, %d strangers killed, %d died", done, rounds, killed, len(died))
		if done < 300*rounds || len(died) > rounds/2 {
			t.Errorf("%d acts are too few: why do strangers die?\n%s", done, strings.Join(died, "\n"))
		}
	})
	if t.Run("after", func(t *testing.T) { works(t, d) }); t.Failed() {
		return
	}
	eventually(t, "nothing is left", func() bool {
		after := must[kmod.Info](t)(d.Info())
		return after.Instances == before.Instances && after.Used == before.Used
	})
}

func startStranger(t *testing.T, i *kmod.Instance, seed uint64, offsets []string) *shmtest.Process {
	t.Helper()
	f := must[*os.File](t)(i.File())
	defer f.Close()
	cmd := shmtest.Command("stranger", append([]string{strconv.FormatUint(seed, 10), "800"}, offsets...)...)
	cmd.ExtraFiles = []*os.File{f}
	return shmtest.StartCommand(t, cmd)
}

// works fails the test unless an instance works as ever.
func works(t *testing.T, d *kmod.Device) {
	t.Helper()
	h, a, i := newHeap(t, d, nil)
	ch := must[*kmod.Channel](t)(i.Channel(a, 0, nil))
	commands, replies := must[*kmod.Receiver](t)(ch.Commands()), must[*kmod.Sender](t)(ch.Replies())
	defer closeAll(t, commands, replies)
	partner(t, i.Name())
	ctx := patient(t)
	for n := range uint64(500) {
		off := h.Geometry().Sections.Data + 8*n
		if err := replies.Send(ctx, off); err != nil {
			t.Fatal(err)
		}
		if got, err := commands.Receive(ctx); err != nil || got != off {
			t.Fatalf("%#x, %v, want %#x", got, err, off)
		}
	}
}
