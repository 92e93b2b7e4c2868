package raft

import (
	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// Status implements replication.Replicator. Applied counts what was handed to the state machine, which may still be at it.
func (r *Replica) Status() replication.Status {
	o := r.options
	_, leader := r.raft.LeaderWithID()
	members := r.Membership()
	status := replication.Status{
		Group: o.Group, Replica: o.Self, Protocol: r.protocol(replicaID(leader)),
		View: replication.ViewNumber(r.raft.CurrentTerm()), Primary: replicaID(leader),
		Op: replication.OpNumber(r.raft.LastIndex()), Commit: replication.OpNumber(r.raft.CommitIndex()), Applied: replication.OpNumber(r.raft.AppliedIndex()),
		Checkpoint: replication.OpNumber(o.Storage.snapshots.newestIndex()), Epoch: members.Epoch, Members: idsOf(members),
		Backend: "raft", Durability: o.Durability.String(), Log: o.Storage.Log(), Failure: r.failed(), Counters: r.counters.all(),
	}
	if view := replication.ViewNumber(r.leading.Load()); view != 0 {
		status.Leading, status.View, status.Primary = true, view, o.Self
	}
	if status.Primary == o.Self && status.Protocol != "stopped" {
		status.Role = replication.RolePrimary
	}
	if r.forgotten.any() {
		status.Reason = r.reason
	}
	status.Counters["fsyncs"] = o.Storage.Syncs()
	return status
}

// protocol is what the replica is at, in the words of the contract.
func (r *Replica) protocol(leader replication.ReplicaID) string {
	switch {
	case r.ended() != nil:
		return "stopped"
	case !r.isMember():
		return r.outsiderProtocol() // who has left has nothing to recover for
	case r.forgotten.any():
		return "recovering"
	case !r.votes():
		return "transitioning" // a member that does not vote yet
	case r.handing.Load():
		return "transferring"
	case r.raft.State() == hraft.Candidate || leader == 0:
		return "view-change"
	default:
		return "normal"
	}
}

func idsOf(members replication.Membership) []replication.ReplicaID {
	return (&membership{Membership: members}).ids()
}
