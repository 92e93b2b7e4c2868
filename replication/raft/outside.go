package raft

import (
	"slices"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// outside is what a replica has been told that is no member: one that is to become one, one that is to leave, or one that was
// away when it was removed. Its own log may say nothing of that, since nobody sends it entries any more.
type outside struct {
	members *membership
	// gone: it is in no configuration any more either, so that nobody waits for it.
	gone bool
}

// newestMembers are the newest that this replica knows.
func (r *Replica) newestMembers() *membership {
	members := r.machine.members.Load()
	if told := r.outside.Load(); told != nil && told.members.Epoch > members.Epoch || told != nil && !members.known() {
		return told.members
	}
	return members
}

// Membership implements replication.Reconfigurer.
func (r *Replica) Membership() replication.Membership { return r.newestMembers().describe() }

// isMember reports whether this replica, in this life, is one of the newest members that it knows.
func (r *Replica) isMember() bool { return r.newestMembers().has(r.options.self()) }

// outsiderProtocol is what a replica is at that is no member.
func (r *Replica) outsiderProtocol() string {
	members := r.newestMembers()
	told := r.outside.Load()
	switch {
	case !members.known(), members.admits(r.options.self()):
		return "transitioning"
	case told != nil && told.gone && told.members.Epoch >= members.Epoch:
		return "left"
	default:
		return "leaving"
	}
}

// votes reports whether this replica is a voter of the library's newest configuration.
func (r *Replica) votes() bool {
	return slices.Contains(voters(r.raft.GetConfiguration().Configuration()), r.options.self().server())
}

// askWho asks who the members are, of one who is none, or whose log has it that it will not vote: they tell it, give it the log when it is to become one, and say
// when it may go.
func (r *Replica) askWho() {
	if r.isMember() && r.votes() {
		return
	}
	contacts := map[replication.ReplicaID]uint64{}
	for _, id := range r.options.Members {
		contacts[id] = 0
	}
	for _, member := range r.newestMembers().Members {
		contacts[member.ID] = member.Incarnation
	}
	delete(contacts, r.options.Self)
	for id, incarnation := range contacts {
		_ = r.rpc.send(peer{id, incarnation}, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_ASK}) // it asks again
	}
}

// tell answers one who asks, and notes who is to become a member. It is not in the configuration any more when that is
// committed, as far as is applied here.
func (r *Replica) tell(from peer, m *pb.RaftMessage) {
	applied := r.machine.applied.Load() // before what is told: that is of then or later
	members := r.machine.members.Load()
	configuration := r.machine.configuration.Load()
	if !members.known() || configuration == nil {
		return
	}
	if m.GetKind() == pb.RaftKind_RAFT_KIND_ASK && members.admits(from) {
		r.rpc.hearing.ask(from)
		r.look()
	}
	gone := true
	for _, server := range configuration.Servers {
		gone = gone && server.ID != from.server()
	}
	_ = r.rpc.send(from, &pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_ASK, Answer: true, Membership: members.message(), Agree: gone, Index: applied,
	}) // it asks again
}

// hear takes what one has told, unless that one knows less than this replica's own log, by which it votes: it may have been
// admitted since.
func (r *Replica) hear(from peer, m *pb.RaftMessage) {
	members, err := membershipOf(m.GetMembership())
	if err != nil {
		r.rpc.refuse(from.id, err)
		return
	}
	if m.GetIndex() <= r.raft.LastIndex() && r.votes() {
		return
	}
	told := &outside{members: members, gone: m.GetAgree()}
	for {
		before := r.outside.Load()
		switch {
		case !members.known(), members.Epoch < r.machine.members.Load().Epoch:
			return
		case before == nil, before.members.Epoch < members.Epoch, before.members.Epoch == members.Epoch && !before.gone:
		default:
			return
		}
		if r.outside.CompareAndSwap(before, told) {
			r.membersChanged()
			return
		}
	}
}

// membersChanged is told when they may have. It does not block.
func (r *Replica) membersChanged() {
	r.look()
	select {
	case r.deposed <- struct{}{}:
	default: // it has one
	}
}
