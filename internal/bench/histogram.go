package bench

import (
	"fmt"
	"math/bits"
)

// Histogram counts durations in ticks with an error below 1/32: values below 64 have a bucket each,
// and each doubling above has 32.
type Histogram struct {
	buckets [bucketCount]uint64
	total   uint64
}

const (
	exactBuckets = 64
	perDoubling  = 32
	doublings    = 34 // to 2^40 ticks, some minutes
	bucketCount  = exactBuckets + doublings*perDoubling
)

// Add counts one value.
func (h *Histogram) Add(v uint64) {
	h.buckets[bucketOf(v)]++
	h.total++
}

func bucketOf(v uint64) int {
	if v < exactBuckets {
		return int(v)
	}
	e := bits.Len64(v) - 1
	return min(exactBuckets+(e-6)*perDoubling+int(v>>(e-5))-perDoubling, bucketCount-1)
}

// middle returns the value that stands for a bucket.
func middle(bucket int) float64 {
	if bucket < exactBuckets {
		return float64(bucket)
	}
	doubling, step := (bucket-exactBuckets)/perDoubling, (bucket-exactBuckets)%perDoubling
	width := float64(uint64(2) << doubling)
	return (perDoubling+float64(step))*width + (width-1)/2
}

// Merge adds the counts of another.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.total += o.total
}

// Count returns how many values were added.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile returns the smallest value that at least the share q of all values do not exceed, 0 when
// there are none.
func (h *Histogram) Quantile(q float64) float64 {
	seen := uint64(0)
	for i, n := range h.buckets {
		seen += n
		if n > 0 && float64(seen) >= q*float64(h.total) {
			return middle(i)
		}
	}
	return 0
}

// sparse returns the buckets that are not empty, each with its count.
func (h *Histogram) sparse() (pairs [][2]uint64) {
	for i, n := range h.buckets {
		if n > 0 {
			pairs = append(pairs, [2]uint64{uint64(i), n})
		}
	}
	return pairs
}

// newHistogram is the inverse of sparse.
func newHistogram(pairs [][2]uint64) (*Histogram, error) {
	h := new(Histogram)
	for _, p := range pairs {
		if p[0] >= bucketCount {
			return nil, fmt.Errorf("histogram with a bucket %d", p[0])
		}
		h.buckets[p[0]] += p[1]
		h.total += p[1]
	}
	return h, nil
}
