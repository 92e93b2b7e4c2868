// Package replication owns the contract between a replicated state machine and whatever replicates it.
//
// A backend (replication/vr, replication/raft) implements Replicator for one replica of one group. A server implements
// StateMachine and knows nothing of the backend. The names are those of Viewstamped Replication: a backend
// with other words translates. Any room of servers may import this package; it imports nothing of ours.
//
// Every method of Replicator may be called from many goroutines at once. StateMachine says which of its
// methods are called from one goroutine only.
package replication
