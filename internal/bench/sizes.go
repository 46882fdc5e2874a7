package bench

import "fmt"

// sizeCount is the length of a table of sizes. The loops go round in it.
const sizeCount = 4096

// Tables of sizes, by name. peers/loops.h has the same.
const (
	sizesPairs   = "pairs"   // uniform in 16..1024
	sizesSmall   = "small"   // 64
	sizesTiny    = "tiny"    // 16
	sizesMixed   = "mixed"   // 16 bytes to 1 MiB, small ones more often
	sizesLarge   = "large"   // 64 KiB to 64 MiB, all magnitudes alike
	sizesMstress = "mstress" // 16..128, every hundredth 100 times and every thousandth 1000 times that
	sizesGrowing = "growing" // 16..1024, all magnitudes alike
)

// splitMix is Steele, Lea and Flood's generator (OOPSLA 2014): it is the same few lines in any language.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// newSizes fills the table of that name. Every worker has its own seed.
func newSizes(name string, seed uint64) (*[sizeCount]uint32, error) {
	next, ok := sizeTables[name]
	if !ok {
		return nil, fmt.Errorf("no table of sizes %q", name)
	}
	rng := splitMix(seed)
	table := new([sizeCount]uint32)
	for i := range table {
		table[i] = uint32(next(&rng))
	}
	return table, nil
}

var sizeTables = map[string]func(*splitMix) uint64{
	sizesPairs: func(r *splitMix) uint64 { return 16 + r.next()%1009 },
	sizesSmall: func(*splitMix) uint64 { return 64 },
	sizesTiny:  func(*splitMix) uint64 { return 16 },
	sizesMixed: func(r *splitMix) uint64 {
		a, b := r.next()%16, r.next()%16
		low := uint64(16) << min(a, b)
		return low + r.next()%low
	},
	sizesLarge: func(r *splitMix) uint64 {
		low := uint64(64<<10) << (r.next() % 10)
		return low + r.next()%(low+1)
	},
	sizesMstress: func(r *splitMix) uint64 {
		size, luck := 16+r.next()%113, r.next()%1000
		switch {
		case luck == 0:
			return size * 1000
		case luck < 10:
			return size * 100
		}
		return size
	},
	sizesGrowing: func(r *splitMix) uint64 {
		low := uint64(16) << (r.next() % 6)
		return low + r.next()%low
	},
}

// checksum tells whether two programs have the same table.
func checksum(table *[sizeCount]uint32) (sum uint64) {
	for _, size := range table {
		sum = sum*31 + uint64(size)
	}
	return sum
}
