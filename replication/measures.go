package replication

// Measures are what a replica counts and measures, in the detail that a monitoring system wants. Status has the
// totals.
type Measures struct {
	// Values are totals since the start, and what stands at this moment. A name that is counted by kinds or reasons
	// has one after a dot: view_changes.restart.
	Values map[string]uint64
	// Histograms are distributions since the start.
	Histograms map[string]Histogram
}

// Histogram is how values were distributed.
type Histogram struct {
	// Bounds ascend. Counts[i] values were at most Bounds[i] and above the bound before it; Counts has one more, of
	// the values above all bounds.
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// Measurer is a Replicator that measures more than its Status has. Measure may be called from many goroutines.
type Measurer interface {
	Measure() Measures
}
