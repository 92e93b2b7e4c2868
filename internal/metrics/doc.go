// Package metrics shows what a node counts and measures to Prometheus, and serves that with the profiles of Go's
// runtime (net/http/pprof) on a port of its own, for the operator: the admin port. It measures nothing itself: it
// reads the status, the measures and the counters that replicators, handlers and the node keep anyway, when it is
// scraped. The table of metrics is in table.go; docs/METRICS.md is the same for people, and a test holds the two
// and a running cluster against each other.
//
// Only cluster imports it; it is the only room that imports Prometheus. An Admin may be used from many goroutines.
package metrics
