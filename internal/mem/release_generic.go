//go:build !(amd64 || arm64) || race

package mem

import "sync/atomic"

// storeRelease stores v to *p with release order. Here it is the stronger sequentially consistent
// store: other architectures have no assembly body, and the race detector must see the store.
func storeRelease(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
