// Package core is Viewstamped Replication as one pure state machine (Liskov and Cowling, "Viewstamped
// Replication Revisited", 2012).
//
// Messages, ticks, proposals and read barriers go in by Step, Tick, Propose and ReadBarrier, after SetTime where there
// are leases; one Ready comes out, and says in which order the driver has to act on it. The core has no goroutine,
// clock, network, disk or lock, and draws randomness only from the function in its Config: the same inputs give the
// same outputs. It is not safe for use from more than one goroutine. It may be imported by the driver
// (replication/vr), by the storage below it and by the simulator; it imports nothing of ours but the test-only
// switches.
package core
