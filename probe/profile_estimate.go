package probe

import (
	"fmt"
	"math"
)

// Estimate is a probability that was estimated from Hits of Runs runs. P is Hits/Runs. The true
// probability lies from Low to High with 95 % confidence: both bounds are those of Clopper and Pearson
// (Biometrika 26, 1934). Where nothing was hit, or everything, there is only one bound, and all of the
// 5 % are on its side: with no hits High is about 3/Runs, the rule of three.
type Estimate struct {
	Hits, Runs   int
	P, Low, High float64
}

// NewEstimate estimates a probability from hits of runs. Without runs it says that nothing is known:
// from 0 to 1. Hits below 0 count as 0, and more than runs as runs.
func NewEstimate(hits, runs int) Estimate {
	if runs <= 0 {
		return Estimate{High: 1}
	}
	hits = min(max(hits, 0), runs)
	e := Estimate{Hits: hits, Runs: runs, P: float64(hits) / float64(runs), High: 1}
	const risk = 0.05
	switch hits {
	case 0:
		e.High = -math.Expm1(math.Log(risk) / float64(runs))
	case runs:
		e.Low = math.Exp(math.Log(risk) / float64(runs))
	default:
		// Low is where so many hits or more have the probability risk/2, High where so many or fewer have.
		e.Low = bisect(func(p float64) bool { return 1-atMost(hits-1, runs, p) < risk/2 })
		e.High = bisect(func(p float64) bool { return atMost(hits, runs, p) > risk/2 })
	}
	return e
}

// bisect returns where below, which is true from 0 on, becomes false on the way to 1.
func bisect(below func(float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if middle := (low + high) / 2; below(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// atMost returns the probability of k hits or fewer in n runs with probability p each, 0 < p < 1.
func atMost(k, n int, p float64) float64 {
	sum := 0.0
	all, _ := math.Lgamma(float64(n + 1))
	for i := range k + 1 {
		chosen, _ := math.Lgamma(float64(i + 1))
		left, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(all - chosen - left + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

// String writes the estimate in percent with its bounds, such as "25 % (19 % to 32 %; 50 of 200 runs)".
func (e Estimate) String() string {
	of := fmt.Sprintf("%d of %d runs", e.Hits, e.Runs)
	switch {
	case e.Runs == 0:
		return "unknown"
	case e.Hits == 0:
		return fmt.Sprintf("0 %% (at most %s; %s)", percent(e.High), of)
	case e.Hits == e.Runs:
		return fmt.Sprintf("100 %% (at least %s; %s)", percent(e.Low), of)
	}
	return fmt.Sprintf("%s (%s to %s; %s)", percent(e.P), percent(e.Low), percent(e.High), of)
}

func percent(p float64) string { return fmt.Sprintf("%.3g %%", 100*p) }
