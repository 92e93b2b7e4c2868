package raft

import (
	hraft "github.com/hashicorp/raft"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// What a snapshot ends with is committed, and so is everything below it. Raft makes two things of it (§7 of the paper, and
// §5.4.3), which hashicorp/raft does not do for a follower whose log is not a beginning of its leader's.
//
// A log that does not have the snapshot's last entry where the snapshot ends is not the one that the snapshot was made of:
// it goes, up to there. What is above stays, and the leader's entries take its place. The library keeps all of it, and a
// follower could later, as a leader, send others what was never committed.
//
// Whoever leads in the follower's term, or in a later one, has what is committed. So there is nothing to compare up to the
// end of the snapshot. The library looks for the entry in the log, or in what it remembers of the log's end; when that is
// not there any more, or is that of a leader who never got it committed, it refuses, and is sent the same snapshot again
// without end.
//
// A follower that has an end of its own above the snapshot may not believe it committed because the leader's commit-index
// is higher: the library takes the smaller one of that and the end of its own log, and the paper that of the last entry
// which the message speaks for (Figure 2). decodeAppend has it so.

// settle makes the log follow a snapshot, its own or another's.
func (g *guard) settle(index, term uint64) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	first, last := g.bounds()
	if last == 0 || first > index {
		return nil
	}
	if last >= index {
		var entry hraft.Log
		if err := g.GetLog(index, &entry); err != nil {
			return err
		}
		if entry.Term == term {
			return nil
		}
	}
	if g.halted.Load() {
		return errHalted
	}
	return g.remove(first, min(index, last))
}

// settleNewest does it for the newest snapshot, where the replica ended between the snapshot and that.
func (s *snapshots) settleNewest() error {
	index, term := s.end()
	if index == 0 {
		return nil
	}
	return s.settle(index, term)
}

// leaveOut takes out of a message of entries what the newest snapshot has, and the comparison with it.
func (s *snapshots) leaveOut(command any) {
	a, ok := command.(*hraft.AppendEntriesRequest)
	index, term := s.end()
	if !ok || a.PrevLogEntry > index || a.PrevLogEntry == index && a.PrevLogTerm != term {
		return
	}
	a.Entries = a.Entries[min(index-a.PrevLogEntry, uint64(len(a.Entries))):]
	a.PrevLogEntry, a.PrevLogTerm = 0, 0
}

// haveIt is what the library is told instead of a snapshot that this replica has, or a later one: somebody leads. Its
// answer is the one to the snapshot.
func haveIt(from peer, m *pb.RaftMessage) *hraft.AppendEntriesRequest {
	return &hraft.AppendEntriesRequest{RPCHeader: header(from), Term: m.GetTerm()}
}
