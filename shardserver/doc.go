// Package shardserver drives one shard: the history line of package txn/history behind a group of replicas,
// the requests of clerks and of other shards, the primary's Lead, the termination of transactions whose clerk
// is gone, and the steady rise of the threshold and the horizons.
//
// It decides nothing about transactions. History (State and Front) validates, package terminate reads
// decisions out of what shards answer; the Server brings requests to them, waits where they say that somebody
// must wait, replicates what they say must be logged, and answers.
//
// One mutex guards the history and everything volatile beside it; critical sections are short and nothing is
// called out of them. Handle never blocks and starts no goroutine: what has to wait is parked and taken up
// again by one of a fixed number of goroutines, which Close ends and waits for. Every exported method may be
// called from many goroutines at once, but those of the StateMachine, for which package replication's rule
// holds.
//
// The cluster and its tests import this package.
package shardserver
