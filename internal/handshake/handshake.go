// Package handshake is how a launcher tells a program which ranges of addresses it has reserved there
// before the program's first instruction: one environment variable, of entries separated by colons.
//
//	SHMHEAP_RESERVED=0x550000000000,0x40000000,8f0c...:0x550100000000,0x40000000,8f0c...
//	                 base           size       nonce
//
// The nonce is 32 hexadecimal digits, new for each launch. Its 16 bytes are also the first bytes of
// each reservation, where they can be read through /proc/self/mem although the memory has no access.
// So a program that has inherited the variable from the one that was launched, or was given it by
// somebody else, can tell that it does not speak of its own memory.
package handshake

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Variable is the name of the environment variable.
const Variable = "SHMHEAP_RESERVED"

// Nonce is what proves that a reservation is the launcher's.
type Nonce [16]byte

// NewNonce returns a random nonce.
func NewNonce() (n Nonce) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// String returns 32 hexadecimal digits.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// Entry is one reservation.
type Entry struct {
	Base, Size uint64
	Nonce      Nonce
}

// String returns the entry as it stands in the variable.
func (e Entry) String() string { return fmt.Sprintf("%#x,%#x,%s", e.Base, e.Size, e.Nonce) }

// Format returns the value of the variable.
func Format(entries []Entry) string {
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = e.String()
	}
	return strings.Join(texts, ":")
}

// Parse returns the entries of a value. What is no entry is left out: anybody can set a variable.
func Parse(value string) []Entry {
	var entries []Entry
	for text := range strings.SplitSeq(value, ":") {
		if e, err := parseEntry(text); err == nil {
			entries = append(entries, e)
		}
	}
	return entries
}

func parseEntry(text string) (e Entry, err error) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 || len(fields[2]) != hex.EncodedLen(len(e.Nonce)) {
		return e, fmt.Errorf("entry %q: want base,size,nonce", text)
	}
	if e.Base, err = strconv.ParseUint(fields[0], 0, 64); err != nil {
		return e, err
	}
	if e.Size, err = strconv.ParseUint(fields[1], 0, 64); err != nil {
		return e, err
	}
	if e.Size == 0 || e.Base+e.Size < e.Base {
		return e, fmt.Errorf("entry %q: no range", text)
	}
	_, err = hex.Decode(e.Nonce[:], []byte(fields[2]))
	if err == nil && e.Nonce == (Nonce{}) {
		err = fmt.Errorf("entry %q: memory that nobody wrote begins with zeros too", text)
	}
	return e, err
}
