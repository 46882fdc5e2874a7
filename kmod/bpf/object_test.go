package bpf

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzObject: any bytes are read as an object file, or refused.
func FuzzObject(f *testing.F) {
	header := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	header[16], header[18], header[20], header[52], header[58] = 1, 247, 1, 64, 64
	f.Add(header)
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ReadObject(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrObject) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		for _, name := range o.Names() {
			_, _ = o.Code(name, map[string]int{"arena": 3})
		}
	})
}
