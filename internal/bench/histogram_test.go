package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBucketsAreNarrow looks at both ends of every bucket, and at the value that stands for it.
func TestBucketsAreNarrow(t *testing.T) {
	last := -1
	for e := 2; e < 40; e++ {
		for _, v := range []uint64{1 << e, 1<<e + 1, 3 << e / 2, 2<<e - 1} {
			b := bucketOf(v)
			if off := math.Abs(middle(b) - float64(v)); off > float64(v)/32 {
				t.Errorf("%d is in bucket %d, which stands for %v", v, b, middle(b))
			}
			if b < last {
				t.Errorf("bucket %d of %d comes before %d", b, v, last)
			}
			last = b
		}
	}
	if got := bucketOf(math.MaxUint64); got != bucketCount-1 {
		t.Errorf("the largest value is in bucket %d", got)
	}
}

func TestQuantilesAreThoseOfTheValues(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	var h, more Histogram
	var values []uint64
	for i := range 10_000 {
		v := uint64(math.Exp(rng.Float64() * 15))
		values = append(values, v)
		if i%3 == 0 {
			more.Add(v)
		} else {
			h.Add(v)
		}
	}
	h.Merge(&more)
	slices.Sort(values)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(values[int(math.Ceil(q*10_000))-1])
		if got := h.Quantile(q); math.Abs(got-want) > want/32 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Count() != 10_000 {
		t.Errorf("%d values", h.Count())
	}
}

func TestHistogramThroughSparse(t *testing.T) {
	var h Histogram
	for _, v := range []uint64{0, 0, 63, 64, 1 << 20} {
		h.Add(v)
	}
	got, err := newHistogram(h.sparse())
	if err != nil || *got != h {
		t.Errorf("got another histogram, %v", err)
	}
	if _, err := newHistogram([][2]uint64{{bucketCount, 1}}); err == nil {
		t.Error("a bucket that there is not was taken")
	}
	if (&Histogram{}).Quantile(0.5) != 0 {
		t.Error("no values have a median")
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{4, 1, 2, 9}, Spread{3, 1, 9}},
	} {
		if diff := cmp.Diff(c.want, spread(c.values)); diff != "" {
			t.Errorf("%v: %s", c.values, diff)
		}
	}
}
