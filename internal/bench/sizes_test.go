package bench

import "testing"

func TestSizesKeepTheirBounds(t *testing.T) {
	for name, bounds := range map[string][2]uint32{
		sizesPairs: {16, 1024}, sizesSmall: {64, 64}, sizesTiny: {16, 16}, sizesMixed: {16, 1 << 20},
		sizesLarge: {64 << 10, 64 << 20}, sizesMstress: {16, 128_000}, sizesGrowing: {16, 1024},
	} {
		table, err := newSizes(name, 1)
		if err != nil {
			t.Fatal(err)
		}
		least, most := table[0], table[0]
		for _, size := range table {
			least, most = min(least, size), max(most, size)
		}
		if least < bounds[0] || most > bounds[1] {
			t.Errorf("%s: sizes are %d to %d, want %d to %d", name, least, most, bounds[0], bounds[1])
		}
		if least > bounds[0]+bounds[0]/8+16 || most < bounds[1]-bounds[1]/4 {
			t.Errorf("%s: sizes are only %d to %d of %d to %d", name, least, most, bounds[0], bounds[1])
		}
	}
	if _, err := newSizes("none", 1); err == nil {
		t.Error("a table that there is not")
	}
}

func TestWorkersHaveSizesOfTheirOwn(t *testing.T) {
	a, _ := newSizes(sizesPairs, 1)
	b, _ := newSizes(sizesPairs, 2)
	if checksum(a) == checksum(b) {
		t.Error("two workers have one table")
	}
	a[7]++
	if again, _ := newSizes(sizesPairs, 1); checksum(again) == checksum(a) {
		t.Error("a changed size does not change the checksum")
	}
}
