// Package frame owns the batching writer behind every stream of viewline: a bounded queue and one goroutine
// that writes everything that waits as one frame.
//
// The goroutine yields the processor once before it takes what waits. Whoever is about to add an item then
// adds it first, so that frames grow with the load by themselves: under load this triples the throughput and
// shortens the latency, because a frame costs far more than an item in it; with one caller it costs nothing,
// as nobody else is ready to run. No timer is involved.
//
// A Writer is safe for use from many goroutines. The streams between nodes, the session service and the
// clients' side of sessions import this package; it imports nothing of ours.
package frame
