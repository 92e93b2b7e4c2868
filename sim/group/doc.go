// Package group simulates one group of Viewstamped Replication: up to seven replicas of replication/vr/core
// over a network, disks and clocks that fail in every way the protocol must survive, in one goroutine and
// from one seed.
//
// Run plays one seed and checks all the time. First comes the safety phase: each seed draws its own mixture
// of faults and its own limits, replicas crash between any two steps of acting on a Ready, and every claim of
// the protocol is compared with what a global observer knows (checks.go lists the claims). Then comes the
// liveness phase: a random quorum is healed, the rest stays dead, cut off, deaf or mute, and everything has to finish
// within a bounded number of ticks. The same seed gives the same run, event by event.
//
// Simulated time is counted in moments; a clock that keeps exact time ticks every momentsPerTick. Nothing in
// here is safe for use from more than one goroutine, and runs share nothing: many may go on side by side.
package group
