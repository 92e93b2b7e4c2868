package raft

import (
	hraft "github.com/hashicorp/raft"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// A server votes for whoever has the better log, also when it has never heard of him: it may be the one who is behind, and the
// only one whose vote makes a majority (Raft dissertation, 4.1). hashicorp/raft refuses who is not in its own configuration. So
// such a vote is asked of it without the name by which it looks, and a pre-vote, which promises nothing, is answered here. One
// who was removed while he was away is told so; he does not disturb the others: who hears a leader gives no pre-vote.

// electorate is what a replica knows of who may stand for election.
type electorate interface {
	// inConfiguration reports whether the library knows a peer.
	inConfiguration(p peer) bool
	// epoch is the newest that is applied; outdated reports whether a candidate of an epoch is no member of it any more.
	epoch() uint64
	outdated(p peer, epoch uint64) bool
	// follows reports whether this replica follows a leader in this term.
	follows(p peer, term uint64) bool
	// wouldVote answers a pre-vote.
	wouldVote(m *pb.RaftMessage) (term uint64, granted bool)
}

// preVote answers a pre-vote that the library would refuse; nil: it is the library's.
func (t *rpc) preVote(in incoming) *pb.RaftMessage {
	m := in.message
	if m.GetKind() != pb.RaftKind_RAFT_KIND_PRE_VOTE || t.forgotten.any() || t.electorate.inConfiguration(in.from) {
		return nil
	}
	t.inform(in)
	term, granted := t.electorate.wouldVote(m)
	return encodeResponse(m, &hraft.RequestPreVoteResponse{Term: term, Granted: granted}, nil)
}

// admit has the library not look for a candidate in its configuration whom it does not know.
func (t *rpc) admit(in incoming, command any) {
	if vote, ok := command.(*hraft.RequestVoteRequest); ok && !t.electorate.inConfiguration(in.from) {
		t.inform(in)
		vote.ID = nil
	}
}

// inform tells a candidate that he is no member any more.
func (t *rpc) inform(in incoming) {
	if t.electorate.outdated(in.from, in.message.GetEpoch()) {
		t.asked(in.from, in.message)
	}
}

// inConfiguration implements electorate. Whoever knows nobody knows everybody, as in the library.
func (r *Replica) inConfiguration(p peer) bool {
	servers := r.raft.GetConfiguration().Configuration().Servers
	for _, server := range servers {
		if server.ID == p.server() {
			return true
		}
	}
	return len(servers) == 0
}

func (r *Replica) epoch() uint64 { return r.machine.members.Load().Epoch }

func (r *Replica) outdated(p peer, epoch uint64) bool {
	members := r.machine.members.Load()
	return members.known() && !members.has(p) && epoch < members.Epoch
}

// wouldVote is as the library decides (requestPreVote), but for the configuration.
func (r *Replica) wouldVote(m *pb.RaftMessage) (uint64, bool) {
	term := max(r.raft.CurrentTerm(), m.GetTerm())
	if _, leader := r.raft.LeaderWithID(); leader != "" || m.GetTerm() < term {
		return term, false
	}
	index, last := r.guard.end()
	return term, m.GetIndexTerm() > last || m.GetIndexTerm() == last && m.GetIndex() >= index
}
