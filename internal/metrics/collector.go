package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// coordinatorGroup is the group that is no shard.
const coordinatorGroup = 0

// Replica is a replica that is measured.
type Replica struct {
	Group, Replica uint32
	// Replicator is asked for its Status, and for its Measures if it is a replication.Measurer.
	Replicator replication.Replicator
	// Describe adds what the server in front of it knows, as node.Handler has it.
	Describe func(status *pb.ReplicaStatus, stateHash bool)
}

// collector makes the metrics of a node when Prometheus asks.
type collector struct {
	node                                   func() map[string]uint64
	replicas                               []Replica
	ofNodes, ofReplicas, ofShards, ofCoord []described
}

// described is a metric as Prometheus knows it.
type described struct {
	metric
	description *prometheus.Desc
}

func newCollector(node func() map[string]uint64, replicas []Replica) *collector {
	return &collector{
		node: node, replicas: replicas, ofNodes: describe(ofNodes()), ofReplicas: describe(ofReplicas(), "group", "replica"),
		ofShards: describe(ofShards(), "group", "replica"), ofCoord: describe(ofCoordinators(), "group", "replica"),
	}
}

func describe(rows []metric, labels ...string) []described {
	result := make([]described, len(rows))
	for i, row := range rows {
		all := labels
		if row.label != "" {
			all = append(slices.Clone(labels), row.label)
		}
		result[i] = described{row, prometheus.NewDesc(row.name, row.help, all, nil)}
	}
	return result
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, rows := range [][]described{c.ofNodes, c.ofReplicas, c.ofShards, c.ofCoord} {
		for _, row := range rows {
			to <- row.description
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	values := c.node()
	for _, row := range c.ofNodes {
		row.collect(to, replication.Measures{Values: values}, nil)
	}
	for _, r := range c.replicas {
		labels := []string{strconv.FormatUint(uint64(r.Group), 10), strconv.FormatUint(uint64(r.Replica), 10)}
		replicated, served := r.measure()
		for _, row := range c.ofReplicas {
			row.collect(to, replicated, labels)
		}
		rows := c.ofShards
		if r.Group == coordinatorGroup {
			rows = c.ofCoord
		}
		for _, row := range rows {
			row.collect(to, served, labels)
		}
	}
}

// measure returns what the replicator measures, and what the server in front of it does.
func (r *Replica) measure() (replicated, served replication.Measures) {
	status := r.Replicator.Status()
	if measurer, ok := r.Replicator.(replication.Measurer); ok {
		replicated = measurer.Measure()
	} else {
		replicated.Values = maps.Clone(status.Counters)
	}
	if replicated.Values == nil {
		replicated.Values = map[string]uint64{}
	}
	described := pb.ReplicaStatus{Counters: map[string]uint64{}}
	r.Describe(&described, false)
	for name, value := range map[string]uint64{
		"view": uint64(status.View), "op": uint64(status.Op), "commit": uint64(status.Commit), "applied": uint64(status.Applied),
		"checkpoint": uint64(status.Checkpoint), "leading": number(status.Leading), "failed": number(status.Failure != nil),
		"serving": number(described.GetServing()),
	} {
		replicated.Values[name] = value
	}
	return replicated, replication.Measures{Values: described.GetCounters()}
}

func number(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

// collect makes a row's metrics. A value that is not there is left out: not every backend has all of them.
func (d *described) collect(to chan<- prometheus.Metric, from replication.Measures, labels []string) {
	switch {
	case d.histogram:
		if h, ok := from.Histograms[d.source]; ok {
			to <- histogram(d.description, h, labels)
		}
	case d.label == "":
		if value, ok := from.Values[d.source]; ok {
			to <- d.value(value, labels)
		}
	default:
		for name, value := range from.Values {
			if rest, ok := strings.CutPrefix(name, d.source); ok {
				to <- d.value(value, append(slices.Clone(labels), rest))
			}
		}
	}
}

func (d *described) value(value uint64, labels []string) prometheus.Metric {
	unit := d.unit
	if unit == 0 {
		unit = 1
	}
	return prometheus.MustNewConstMetric(d.description, d.kind, float64(value)*unit, labels...)
}

// histogram is one as Prometheus has it: each bucket holds those before it.
func histogram(description *prometheus.Desc, h replication.Histogram, labels []string) prometheus.Metric {
	buckets, total := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, count := range h.Counts {
		total += count
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = total
		}
	}
	return prometheus.MustNewConstHistogram(description, total, h.Sum, buckets, labels...)
}
