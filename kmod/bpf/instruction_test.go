package bpf

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// TestEncoding compares instructions with what the kernel's documentation and clang make of them
// (Documentation/bpf/standardization/instruction-set.rst).
func TestEncoding(t *testing.T) {
	for _, c := range []struct {
		i    Instruction
		want string
	}{
		{Move(R6, R1), "bf16000000000000"},
		{Set32(R0, -1), "b7000000ffffffff"},
		{Set64(R3, 0x5500_0001_0000), "18030000000001000000000000550000"},
		{Map(R1, 7), "18110000070000000000000000000000"},
		{CastKernel(R2, R1), "bf12010001000000"},
		{CastUser(R2, R1), "bf12010000000100"},
		{Compute(Add, R1, R2), "0f21000000000000"},
		{ComputeBy(Rsh, R4, 51), "7704000033000000"},
		{Cut(R1, R2), "bc21000000000000"},
		{LoadFrom(Bits64, R3, R2, 8), "7923080000000000"},
		{LoadFrom(Bits32, R1, R2, -4), "6121fcff00000000"},
		{StoreTo(Bits64, R2, 16, R7), "7b72100000000000"},
		{SetTo(Bits64, R10, -8, 5), "7a0af8ff05000000"},
		{FetchAdd(Bits64, R1, 0, R2), "db21000001000000"},
		{Exchange(Bits32, R8, 4, R1), "c3180400e1000000"},
		{CompareExchange(Bits64, R3, 0, R1), "db130000f1000000"},
		{Call(HelperKtime), "8500000005000000"},
		{CallKernel(99), "8520000063000000"},
		{Exit(), "9500000000000000"},
	} {
		got, err := Assemble([]Instruction{c.i})
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%+v is %x, %v, want %s", c.i, got, err, c.want)
		}
	}
}

// TestJumps: a jump counts instructions of eight bytes from behind itself.
func TestJumps(t *testing.T) {
	got, err := Assemble([]Instruction{
		Jump("end"), Mark("back"), Set64(R1, 1), JumpIfValue(Equal, R1, 1, "back"), OrLeave("end"), JumpIf(Less, R1, R2, "end"), Mark("end"), Exit(),
	})
	want := "0500050000000000" + "18010000010000000000000000000000" + "1501fdff01000000" + "e500010000000000" + "ad21000000000000" + "9500000000000000"
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%x, %v, want %s", got, err, want)
	}
	for _, bad := range [][]Instruction{{Jump("nowhere")}, {Mark("a"), Mark("a")}, append([]Instruction{Jump("far")}, append(make([]Instruction, 40000), Mark("far"))...)} {
		if _, err := Assemble(bad); err == nil {
			t.Errorf("assembled %d instructions with bad labels", len(bad))
		}
	}
}

// types makes what the kernel says of its types: a struct with two fields, and two functions.
func types() []byte {
	strings := []byte("\x00thing\x00one\x00two\x00do_this\x00do_that\x00")
	at := func(name string) byte {
		return byte(bytes.Index(strings, append([]byte{0}, append([]byte(name), 0)...)) + 1)
	}
	body := []byte{
		at("thing"), 0, 0, 0, 2, 0, 0, kindStruct, 16, 0, 0, 0,
		at("one"), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
		at("two"), 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0,
		at("do_this"), 0, 0, 0, 0, 0, 0, kindFunction, 1, 0, 0, 0,
		at("do_that"), 0, 0, 0, 0, 0, 0, kindFunction, 1, 0, 0, 0,
	}
	header := []byte{0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, byte(len(body)), 0, 0, 0, byte(len(body)), 0, 0, 0, byte(len(strings)), 0, 0, 0}
	return append(append(header, body...), strings...)
}

func TestTypes(t *testing.T) {
	k, err := ParseTypes(types())
	if err != nil {
		t.Fatal(err)
	}
	if id, err := k.Function("do_that"); id != 3 || err != nil {
		t.Errorf("do_that is %d, %v", id, err)
	}
	if _, err := k.Function("do_"); err == nil || !strings.Contains(err.Error(), "needs a kernel that has it") {
		t.Errorf("no such function: %v", err)
	}
	if off, err := k.Field("thing", "two"); off != 8 || err != nil {
		t.Errorf("thing.two is at %d, %v", off, err)
	}
	if _, err := k.Field("thing", "three"); err == nil {
		t.Error("there is a field three")
	}
}

// FuzzTypes: any bytes are answered.
func FuzzTypes(f *testing.F) {
	f.Add(types())
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ParseTypes(data)
		if err != nil {
			return
		}
		_, _ = k.Function("do_that")
		_, _ = k.Field("thing", "two")
	})
}
