package web

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
)

// collector turns the latest snapshot into metrics.
type collector struct{ s *Server }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("shmheap_"+name, help, append([]string{"heap"}, labels...), nil)
}

// What is measured. All have the label heap.
var (
	sizeBytes      = describe("size_bytes", "Maximum size of the region.")
	committedBytes = describe("committed_bytes", "Bytes of the region that have storage.")
	limitBytes     = describe("limit_bytes", "Bytes that may have storage, 0 without a limit.")
	liveBlocks     = describe("live_blocks", "Blocks in use.")
	liveBytes      = describe("live_bytes", "Bytes of the blocks in use, rounded up to size classes and granules.")
	spaceBytes     = describe("space_bytes", "Bytes of the region by what they are used for.", "use")
	largestFree    = describe("largest_free_bytes", "Length of the largest run of free granules.")
	fragmentation  = describe("fragmentation_ratio", "Share of the free bytes between used ones that the largest gap does not have.")
	damaged        = describe("damaged", "1 when something could not be counted because the tables are damaged, else 0.")
	peerUp         = describe("peer_up", "1 for an attached process, 0 for one that died and was not recovered.", "peer", "pid", "program")
	peerHeld       = describe("peer_held_bytes", "Bytes that the peer holds.", "peer", "pid", "program")
	peerQuota      = describe("peer_quota_bytes", "Bytes that the peer may hold, 0 without a quota.", "peer", "pid", "program")
	peerAllocs     = describe("peer_allocs_total", "Blocks that the peer has allocated.", "peer", "pid", "program")
	peerFrees      = describe("peer_frees_total", "Blocks that the peer has freed.", "peer", "pid", "program")
	classLive      = describe("class_live_blocks", "Blocks in use by size class.", "size")
	classFree      = describe("class_free_blocks", "Free blocks of slabs by size class.", "size")
	classSlabs     = describe("class_slabs", "Slabs by size class.", "size")
	queueDepth     = describe("queue_depth", "Elements in the queue.", "queue", "kind")
	queueCap       = describe("queue_capacity", "Elements that fit into the queue.", "queue", "kind")
	queueDropped   = describe("queue_dropped_total", "Elements that were no offsets and went to nobody.", "queue", "kind")
	queueEnds      = describe("queue_handles", "Producers and consumers of the queue.", "queue", "kind", "side")
	queueAsleep    = describe("queue_asleep", "1 when somebody may be asleep at that side of the queue, else 0.", "queue", "kind", "side")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		sizeBytes, committedBytes, limitBytes, liveBlocks, liveBytes, spaceBytes, largestFree, fragmentation, damaged,
		peerUp, peerHeld, peerQuota, peerAllocs, peerFrees, classLive, classFree, classSlabs,
		queueDepth, queueCap, queueDropped, queueEnds, queueAsleep,
	} {
		to <- d
	}
}

// sink sends metrics of one heap.
type sink struct {
	to   chan<- prometheus.Metric
	heap string
}

func (k sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	k.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{k.heap}, labels...)...)
}

func (k sink) counter(d *prometheus.Desc, v float64, labels ...string) {
	k.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{k.heap}, labels...)...)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.s.shot()
	k := sink{to, s.Name}
	k.gauge(sizeBytes, float64(s.Size))
	k.gauge(committedBytes, float64(s.Committed))
	k.gauge(limitBytes, float64(s.Limit))
	k.gauge(liveBlocks, float64(s.Live))
	k.gauge(liveBytes, float64(s.LiveBytes))
	k.gauge(largestFree, float64(s.Spaces.LargestFree))
	k.gauge(fragmentation, s.Spaces.Fragmentation())
	k.gauge(damaged, truth(s.Problem != ""))
	k.spaces(&s.Spaces)
	for i := range s.Peers {
		k.peer(&s.Peers[i])
	}
	for _, x := range s.Classes {
		size := strconv.FormatUint(x.Size, 10)
		k.gauge(classLive, float64(x.Live), size)
		k.gauge(classFree, float64(x.Free), size)
		k.gauge(classSlabs, float64(x.Slabs), size)
	}
	for i := range s.Queues {
		k.queue(&s.Queues[i])
	}
}

func (k sink) spaces(t *live.Spaces) {
	for use, v := range map[string]uint64{
		"tables": t.Tables, "slabs": t.Slabs, "large": t.Large, "arenas": t.Arenas, "claimed": t.Claimed,
		"free": t.Free, "damaged": t.Damaged,
	} {
		k.gauge(spaceBytes, float64(v), use)
	}
}

func (k sink) peer(p *live.Peer) {
	labels := []string{p.ID, strconv.Itoa(p.PID), p.Program}
	k.gauge(peerUp, truth(p.Alive), labels...)
	k.gauge(peerHeld, float64(p.Held), labels...)
	k.gauge(peerQuota, float64(p.Quota), labels...)
	k.counter(peerAllocs, float64(p.Allocs), labels...)
	k.counter(peerFrees, float64(p.Frees), labels...)
}

func (k sink) queue(q *live.Queue) {
	k.gauge(queueDepth, float64(q.Depth), q.Root, q.Kind)
	k.gauge(queueCap, float64(q.Cap), q.Root, q.Kind)
	k.counter(queueDropped, float64(q.Dropped), q.Root, q.Kind)
	k.gauge(queueEnds, float64(len(q.Producers)), q.Root, q.Kind, "producers")
	k.gauge(queueEnds, float64(len(q.Consumers)), q.Root, q.Kind, "consumers")
	k.gauge(queueAsleep, truth(q.PushWaits), q.Root, q.Kind, "producers")
	k.gauge(queueAsleep, truth(q.PopWaits), q.Root, q.Kind, "consumers")
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
