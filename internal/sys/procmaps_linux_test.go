package sys

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	const tail = " 1 2 3 0 -1 4194560 100 0 0 0 %U 7 0 0 20 0 1 0 100"
	for _, test := range []struct {
		text  string
		state byte
		ticks uint64
	}{
		{"17 (cat) S" + strings.Replace(tail, "%U", "35", 1), 'S', 42},
		{"17 (a ) R (b) 1) D" + strings.Replace(tail, "%U", "0", 1), 'D', 7},
		{"17 () Z" + strings.Replace(tail, "%U", "18446744073709551615", 1) + "\n", 'Z', 6},
	} {
		state, ticks, err := parseStat([]byte(test.text))
		if err != nil || state != test.state || ticks != test.ticks {
			t.Errorf("%q: %c, %d ticks, %v", test.text, state, ticks, err)
		}
	}
	for _, bad := range []string{"", ")", "17 (cat)", "17 (cat) S 1 2", "17 (cat) SS" + tail, "17 (cat) S" + tail} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestStates(t *testing.T) {
	for state, blocked := range map[byte]bool{'R': false, 'D': false, 'S': true, 'T': true, 't': true, 'I': true} {
		if isBlocked(state) != blocked || isZombie(state) {
			t.Errorf("%c: blocked %t, zombie %t", state, isBlocked(state), isZombie(state))
		}
	}
}

func TestThisProcessRuns(t *testing.T) {
	state, err := StateOf(os.Getpid())
	if err != nil || state.Ended || state.Blocked {
		t.Errorf("%+v, %v", state, err)
	}
	if !ProcessExists(os.Getpid()) || !HasProc() || ProcessName(os.Getpid()) == "" {
		t.Error("this process is not there")
	}
}

func TestNoProcess(t *testing.T) {
	const nobody = 1<<31 - 1
	_, err := StateOf(nobody)
	if !IsGone(err) || ProcessExists(nobody) || ProcessExists(0) || ProcessExists(-1) || ProcessName(nobody) != "" {
		t.Errorf("%v", err)
	}
	if err := EachMappingOf(nobody, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if children, err := ChildrenOf(nobody); len(children) > 0 || err != nil {
		t.Errorf("%v, %v", children, err)
	}
	if err := KillGroup(nobody); err != nil {
		t.Errorf("%v", err)
	}
}

func TestCurrentSettings(t *testing.T) {
	if s := CurrentSettings(); s.Kernel == "" || s.Randomise < 0 || s.Randomise > 2 || s.RandomBits == 0 || s.StackLimit < 0 {
		t.Errorf("%+v", s)
	}
	if n := readSysctl("no/such"); n != -1 {
		t.Errorf("no such sysctl: %d", n)
	}
}

func TestAddressLimitOf(t *testing.T) {
	own, err := AddressLimit()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := AddressLimitOf(os.Getpid()); got != own || err != nil {
		t.Errorf("%d, %v, want %d", got, err, own)
	}
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n"
	for text, want := range map[string]uint64{
		head + "Max address space         4096                 unlimited            bytes     \n": 4096,
		head + "Max address space         unlimited            unlimited            bytes     \n": 1<<64 - 1,
	} {
		if got, err := parseAddressLimit(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", head, "Max address space", "Max address space x y"} {
		if _, err := parseAddressLimit(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if _, err := AddressLimitOf(1<<31 - 1); !IsGone(err) {
		t.Errorf("nobody: %v", err)
	}
}

// TestOfThisProcessFromOutside: what is read of another process is the same as what this one knows.
func TestOfThisProcessFromOutside(t *testing.T) {
	name := "PATH"
	if got, err := EnvironmentOf(os.Getpid(), name); got != os.Getenv(name) || err != nil {
		t.Errorf("%s=%q, %v", name, got, err)
	}
	if got, err := EnvironmentOf(os.Getpid(), "NO_SUCH_VARIABLE"); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	var own, outside [16]byte
	at := uint64(reflect.ValueOf(TestAddressLimitOf).Pointer())
	if err := errors.Join(ReadOwn(at, own[:]), ReadMemoryOf(os.Getpid(), at, outside[:])); err != nil || own != outside || own == [16]byte{} {
		t.Errorf("%x and %x, %v", own, outside, err)
	}
	if err := ReadMemoryOf(os.Getpid(), 1<<63, own[:]); err == nil {
		t.Error("read from the kernel's half")
	}
	f, err := OpenProgramOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
