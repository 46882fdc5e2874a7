package bench

import "slices"

// Spread is what several rounds gave: the median and the extremes.
type Spread struct {
	Median, Min, Max float64
}

// spread summarizes values, of which there must be one at least. The median of an even number of them
// is the mean of the two in the middle.
func spread(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}
