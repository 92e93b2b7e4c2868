package raft

import (
	hraft "github.com/hashicorp/raft"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// hashicorp/raft has transports call it about heartbeats beside its main loop, since that may be busy with a disk or a
// snapshot for long. But what it does then is not safe beside the main loop: a heartbeat that passes a time-out leaves a
// candidate who believes in a leader, so that he gives nobody a vote, for ever; and one that passes a vote may write the
// heartbeat's term over a later one in which the vote was just given. So the main loop gets every heartbeat. While that is
// busy with a call, one of the leader that this replica follows is answered here, which needs nothing of the library: that
// its term is the leader's is all that the answer says.

// engage is told when the library begins with a call, and when it has ended.
func (t *rpc) engage(with *pb.RaftMessage, busy bool) {
	switch with.GetKind() {
	case pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT:
	default:
		return
	}
	t.busy.Store(busy)
	if busy {
		select {
		case t.engaged <- struct{}{}:
		default: // it has a token
		}
	}
}

// handleHeartbeat has a heartbeat answered by the library, or here while that is busy.
func (t *rpc) handleHeartbeat(in incoming) {
	command, err := command(in.from, in.message)
	if err != nil {
		t.refuse(in.from.id, err)
		return
	}
	for {
		if t.busy.Load() && t.electorate.follows(in.from, in.message.GetTerm()) {
			response := &hraft.AppendEntriesResponse{Term: in.message.GetTerm(), Success: true}
			_ = t.send(in.from, encodeResponse(in.message, response, nil)) // there will be another one
			return
		}
		answers := make(chan hraft.RPCResponse, 1)
		select {
		case t.consumer <- hraft.RPC{Command: command, RespChan: answers}:
			t.finish(in, answers)
			return
		case <-t.engaged: // it is looked again
		case <-t.ctx.Done():
			return
		}
	}
}

// finish passes on what the library answers.
func (t *rpc) finish(in incoming, answers <-chan hraft.RPCResponse) {
	select {
	case answer := <-answers:
		_ = t.send(in.from, encodeResponse(in.message, answer.Response, answer.Error)) // who asks waits no longer than it would without
	case <-t.ctx.Done():
	}
}

// follows implements electorate. The term is read last: a vote in a later one is given after that has changed.
func (r *Replica) follows(p peer, term uint64) bool {
	_, leader := r.raft.LeaderWithID()
	return r.raft.State() == hraft.Follower && leader == p.server() && r.raft.CurrentTerm() == term
}
