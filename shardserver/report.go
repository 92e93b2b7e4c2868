package shardserver

import (
	"context"

	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/replication"
)

// report tells the coordinator who is primary here and who the members are, and whether that worked. It tells the members
// every time: the coordinator's primary may be another one, which never heard of them.
func (s *Server) report(lead *lead) bool {
	primary, members, ok := s.describeGroup(lead)
	if !ok {
		return false // the epoch ends at this moment, and the lead with it
	}
	ctx, cancel := context.WithTimeout(lead.ctx, s.options.CallTimeout)
	defer cancel()
	err := s.options.Router.ReportPrimary(ctx, primary, members)
	if err != nil && lead.ctx.Err() == nil {
		s.options.Logger.Warn("the coordinator did not hear who is primary", "shard", s.options.Shard, "error", err)
	}
	return err == nil
}

// describeGroup is what there is to report. Epoch, view and members must be of one moment: a primary of an epoch that is
// over may not speak for the members of the next.
func (s *Server) describeGroup(lead *lead) (primary route.Primary, members []route.Member, ok bool) {
	membership, can := s.membership()
	status := s.replicator.Status()
	if status.View != lead.view || can && membership.Epoch != status.Epoch {
		return primary, nil, false
	}
	primary = route.Primary{
		Group: uint32(s.options.Shard), Epoch: status.Epoch, View: uint64(lead.view),
		Replica: uint32(s.options.Replica), Address: s.options.AddressOf(s.options.Replica),
	}
	for _, member := range membership.Members {
		address := s.options.AddressOf(member.ID)
		if address == "" {
			return primary, nil, true // nobody could find it
		}
		members = append(members, route.Member{Replica: uint32(member.ID), Address: address, Witness: member.Witness})
	}
	return primary, members, true
}

// membership is what the group says of its members, if they can change.
func (s *Server) membership() (membership replication.Membership, can bool) {
	changes, can := s.replicator.(replication.Reconfigurer)
	if can {
		membership = changes.Membership()
	}
	return membership, can
}
