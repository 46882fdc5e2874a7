//go:build !crashpoint && !shmheap_portable

package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shmheap/shmheap/internal/shmtest"
)

// boostWorkers is how many processes work, as testdata/boost_storm.cpp has it.
const boostWorkers = 8

// TestBoostStorm is the control of TestStorm: the same on Boost.Interprocess, whose heap has one lock. It
// counts the kills after which nobody gets on any more, and begins anew then.
func TestBoostStorm(t *testing.T) {
	s := &boostStorm{t: t, program: buildBoost(t), name: "shmheap-crash-boost-" + strconv.Itoa(os.Getpid())}
	seed := newSeed(t)
	s.random = rand.New(rand.NewPCG(seed, 0))
	t.Cleanup(func() { s.run("remove") })
	kills, ended := envNumber(t, "SHMHEAP_BOOST", 12), 0
	for n := range kills {
		if n == 0 || s.stuck {
			s.begin()
		}
		if s.kill(); s.stuck {
			ended++
		}
	}
	t.Logf("note: Boost.Interprocess: %d of %d kills ended the heap", ended, kills)
	if ended == 0 && kills > 50 {
		t.Error("no kill ended the heap: this is no control")
	}
}

// buildBoost builds the program.
func buildBoost(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("g++")
	if err != nil {
		shmtest.Skip(t, "no C++ compiler", "install g++")
	}
	if _, err := os.Stat("/usr/include/boost/interprocess"); err != nil {
		shmtest.Skip(t, "no Boost.Interprocess", "install libboost-dev")
	}
	program := filepath.Join(t.TempDir(), "boost_storm")
	cmd := exec.Command(compiler, "-O2", "-std=c++17", "-o", program, "testdata/boost_storm.cpp", "-lrt", "-pthread")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return program
}

type boostStorm struct {
	t             *testing.T
	program, name string
	random        *rand.Rand
	workers       [boostWorkers]*shmtest.Process
	reader        *shmtest.Process
	stuck         bool
}

func (s *boostStorm) run(verb string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(s.program, append([]string{verb, s.name}, args...)...).CombinedOutput(); err != nil {
		s.t.Errorf("%s: %v\n%s", verb, err, out)
	}
}

func (s *boostStorm) start(verb string, args ...string) *shmtest.Process {
	return shmtest.StartCommand(s.t, exec.Command(s.program, append([]string{verb, s.name}, args...)...))
}

// begin makes a heap and lets everybody work on it.
func (s *boostStorm) begin() {
	s.t.Helper()
	for _, p := range append(s.workers[:], s.reader) {
		if p != nil {
			p.Kill()
		}
	}
	s.run("create", strconv.Itoa(stormSize))
	s.stuck = false
	s.reader = s.start("read")
	s.reader.Ask("")
	for place := range s.workers {
		s.replace(place)
	}
	for place := range s.workers {
		shmtest.Until(s.t, "a worker works", func() bool { return s.progress()[place] > 0 })
	}
}

func (s *boostStorm) replace(place int) {
	s.workers[place] = s.start("work", strconv.Itoa(place), fmt.Sprint(s.random.Uint64()))
}

func (s *boostStorm) progress() (all [boostWorkers]uint64) {
	s.t.Helper()
	for i, field := range strings.Fields(s.reader.Ask("")) {
		all[i], _ = strconv.ParseUint(field, 10, 64)
	}
	return all
}

// kill kills a worker at a random moment and looks whether the others get on.
func (s *boostStorm) kill() {
	s.t.Helper()
	time.Sleep(time.Duration(s.random.IntN(5000)) * time.Microsecond)
	place := s.random.IntN(boostWorkers)
	s.workers[place].Kill()
	time.Sleep(10 * time.Millisecond) // who has the lock behind him may still count
	before := s.progress()
	for end := time.Now().Add(2 * time.Second); s.progress() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.stuck = true
			return
		}
	}
	s.replace(place)
}
