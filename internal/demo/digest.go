package demo

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
)

// entry is one posting without its pointers.
type entry struct{ file, count uint32 }

// digest is a SHA-256 over an index in a canonical order: the paths, then the
// words, ascending, each with its postings in the order of the files.
type digest struct {
	sum hash.Hash
	buf []byte
}

func newDigest(paths int) *digest {
	d := &digest{sum: sha256.New()}
	d.number(uint64(paths))
	return d
}

// path adds the next file's path.
func (d *digest) path(p string) { d.text(p) }

// word adds the next word. It sorts postings.
func (d *digest) word(text string, postings []entry) {
	slices.SortFunc(postings, func(a, b entry) int { return cmp.Compare(a.file, b.file) })
	d.text(text)
	d.number(uint64(len(postings)))
	for _, e := range postings {
		d.buf = binary.LittleEndian.AppendUint32(d.buf, e.file)
		d.buf = binary.LittleEndian.AppendUint32(d.buf, e.count)
	}
	if len(d.buf) > 64<<10 {
		d.flush()
	}
}

// String ends the digest and returns it as hexadecimal digits.
func (d *digest) String() string {
	d.flush()
	return hex.EncodeToString(d.sum.Sum(nil))
}

func (d *digest) text(s string) {
	d.number(uint64(len(s)))
	d.buf = append(d.buf, s...)
}

func (d *digest) number(n uint64) { d.buf = binary.AppendUvarint(d.buf, n) }

func (d *digest) flush() {
	d.sum.Write(d.buf)
	d.buf = d.buf[:0]
}
