// Package coordinator serves the map of shards and the timestamps: a replica of group 0.
//
// It decides nothing: coordinator/state holds the replicated state and the oracle, and the Server brings
// requests to them. While its replica leads, it has the mark of timestamps raised ahead of need, so that a
// request costs no operation, only the proof that this replica still leads: one round of the group, begun after
// the request arrived and shared by all that wait. It has the members of the groups logged when a shard's primary, or
// its own group, tells of a later epoch. It tells everyone who watches what changed in the map, the primaries and the
// bound; a backup does so too, and says who is primary; one that has left its group says that, and who came after it.
//
// One mutex guards the state and everything volatile beside it; nothing is called out of it. Handle never blocks
// and starts no goroutine. One goroutine follows the group, and each watcher has its stream's own; Close ends
// them and waits. Every exported method may be called from many goroutines at once, but those of the
// StateMachine, for which package replication's rule holds.
//
// The cluster and its tests import this package.
package coordinator
