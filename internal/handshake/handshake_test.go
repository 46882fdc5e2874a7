package handshake

import (
	"reflect"
	"testing"
)

func TestFormatParse(t *testing.T) {
	entries := []Entry{
		{0x5500_0000_0000, 1 << 30, NewNonce()},
		{0x1000_0000_0000, 16 << 40, NewNonce()},
	}
	if entries[0].Nonce == entries[1].Nonce {
		t.Error("the same nonce twice")
	}
	if got := Parse(Format(entries)); !reflect.DeepEqual(got, entries) {
		t.Errorf("%v, want %v", got, entries)
	}
}

func TestValueIsFrozen(t *testing.T) {
	e := Entry{0x5500_0000_0000, 0x4000_0000, Nonce{0: 0x8f, 15: 0x01}}
	const want = "0x550000000000,0x40000000,8f000000000000000000000000000001"
	if got := e.String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseLeavesOutNonsense(t *testing.T) {
	const nonce = "8f000000000000000000000000000001"
	for _, text := range []string{
		"", ":", "x", "1,2", "1,2,3", "0x1000,0x0," + nonce, "0x1000,-1," + nonce, ",,", "z,0x1000," + nonce,
		"0xffffffffffffffff,0x2," + nonce, "0x1000,0x1000,zz000000000000000000000000000001",
		"0x1000,0x1000," + nonce + ",1",
	} {
		if got := Parse(text); len(got) != 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
	if got := Parse("x:0x1000,0x2000," + nonce + ":"); len(got) != 1 || got[0].Base != 0x1000 {
		t.Errorf("good entry among nonsense: %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0x550000000000,0x40000000,8f000000000000000000000000000001:1,2")
	f.Fuzz(func(t *testing.T, value string) {
		for _, e := range Parse(value) {
			if e.Size == 0 || e.Base+e.Size < e.Base {
				t.Errorf("%q: bad range %v", value, e)
			}
		}
	})
}
