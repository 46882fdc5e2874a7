package demo

// Words shorter or longer than this are not indexed.
const (
	minWord = 2
	maxWord = 40
)

// fold maps a byte to the lower-case byte that it counts as, or to 0 when it
// is no part of a word.
var fold = func() (t [256]byte) {
	for c := '0'; c <= '9'; c++ {
		t[c] = byte(c)
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = byte(c), byte(c)
	}
	t['_'] = '_'
	return t
}()

// term is one distinct word of a file: text is a part of the scanned buffer.
type term struct {
	hash  uint64
	text  []byte
	count uint32
}

// scanner counts the words of one file at a time. It keeps its memory from
// one file to the next, and is used by one goroutine.
type scanner struct {
	buf   []byte
	terms []term
	table []slot // open addressing; a power of two, at most half full
	epoch uint32 // slots of earlier files are free
}

// slot refers to a term of the file that has its epoch.
type slot struct{ epoch, term uint32 }

// file reads and scans the file at path. The result is valid until the next
// call.
func (s *scanner) file(path string) ([]term, error) {
	buf, err := readText(path, s.buf)
	if err != nil {
		return nil, err
	}
	s.buf = buf
	return s.text(buf), nil
}

// text returns the distinct words of b in the order in which they first
// occur, with their counts. It turns b to lower case in place.
func (s *scanner) text(b []byte) []term {
	s.reset()
	for i := 0; i < len(b); i++ {
		start, hash := i, uint64(14695981039346656037) // FNV-1a
		for ; i < len(b); i++ {
			c := fold[b[i]]
			if c == 0 {
				break
			}
			b[i] = c
			hash = (hash ^ uint64(c)) * 1099511628211
		}
		if n := i - start; n >= minWord && n <= maxWord {
			s.add(hash, b[start:i])
		}
	}
	return s.terms
}

// reset forgets the terms of the file before.
func (s *scanner) reset() {
	s.terms = s.terms[:0]
	if s.epoch++; s.table == nil || s.epoch == 0 {
		s.table, s.epoch = make([]slot, max(len(s.table), 1<<12)), 1
	}
}

// add counts one occurrence of a word.
func (s *scanner) add(hash uint64, text []byte) {
	at := s.probe(hash, text)
	if s.table[at].epoch == s.epoch {
		s.terms[s.table[at].term].count++
		return
	}
	s.table[at] = slot{s.epoch, uint32(len(s.terms))}
	s.terms = append(s.terms, term{hash, text, 1})
	if 2*len(s.terms) > len(s.table) {
		s.grow()
	}
}

// probe returns the place of a word in the table, or that of the free slot
// where it belongs.
func (s *scanner) probe(hash uint64, text []byte) uint64 {
	mask := uint64(len(s.table) - 1)
	for at := (hash ^ hash>>32) & mask; ; at = (at + 1) & mask {
		e := s.table[at]
		if e.epoch != s.epoch {
			return at
		}
		if t := &s.terms[e.term]; t.hash == hash && string(t.text) == string(text) {
			return at
		}
	}
}

// grow doubles the table.
func (s *scanner) grow() {
	s.table, s.epoch = make([]slot, 2*len(s.table)), 1
	for i := range s.terms {
		s.table[s.probe(s.terms[i].hash, s.terms[i].text)] = slot{s.epoch, uint32(i)}
	}
}
