package main

import "testing"

func TestSizeValue(t *testing.T) {
	tests := map[string]uint64{
		"1":                    1,
		"64k":                  64_000,
		"64KiB":                64 << 10,
		"512 MB":               512_000_000,
		"1.5GiB":               3 << 29,
		"2GB":                  2_000_000_000,
		"1TiB":                 1 << 40,
		"1,024":                1024,
		"0":                    0,
		"0MiB":                 0,
		"":                     0,
		"-1":                   0,
		"GiB":                  0,
		"1XB":                  0,
		"1e9":                  0,
		"16EiB":                0,
		"99999999999999999999": 0,
	}
	for text, want := range tests {
		var v sizeValue
		if err := v.Set(text); uint64(v) != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, error %v; want %d", text, v, err, want)
		}
	}
}

func TestAddressValue(t *testing.T) {
	tests := map[string]struct {
		want uint64
		ok   bool
	}{
		"0x5500_0000_0000":        {0x550000000000, true},
		"0x550000000000":          {0x550000000000, true},
		"4096":                    {4096, true},
		"0":                       {0, true},
		"550000000000x":           {0, false},
		"-1":                      {0, false},
		"":                        {0, false},
		"0x1_0000_0000_0000_0000": {0, false},
	}
	for text, test := range tests {
		var v addressValue
		if err := v.Set(text); uint64(v) != test.want || (err == nil) != test.ok {
			t.Errorf("%q: %#x, error %v; want %#x", text, uint64(v), err, test.want)
		}
	}
}
