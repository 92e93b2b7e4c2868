package coordinator

import (
	"errors"
	"slices"
	"time"

	"github.com/viewline/viewline/coordinator/state"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// reportsMax bounds the reports that wait for one change of a group's members.
const reportsMax = 64

// changing is a change of a group's members that is under way, and the reports of its primaries that wait for it.
type changing struct{ reports []*waiter }

// standing is who the coordinator's own members are, as the group last said.
type standing struct {
	// group is nil while it is not known, or not where all of them are.
	group *state.Group
	// stranger: this replica is none of them.
	stranger bool
}

func (s standing) equal(other standing) bool {
	if s.group == nil || other.group == nil {
		return s == other
	}
	return s.stranger == other.stranger && s.group.Epoch == other.group.Epoch && slices.Equal(s.group.Members, other.group.Members)
}

// membership asks the group who its members are. The caller does not hold the lock.
func (s *Server) membership(self replication.ReplicaID) standing {
	changes, can := s.replicator.(replication.Reconfigurer)
	if !can {
		return standing{}
	}
	present := changes.Membership()
	if len(present.Members) == 0 {
		return standing{}
	}
	found := standing{group: &state.Group{Epoch: present.Epoch}, stranger: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, member := range present.Members {
		found.stranger = found.stranger && member.ID != self
		found.group.Members = append(found.group.Members, state.Member{
			Replica: uint32(member.ID), Witness: member.Witness, Address: s.address(member.ID),
		})
	}
	if found.group.Validate() != nil {
		found.group = nil
	}
	return found
}

// reportPrimary takes a shard's primary's word for it, on the coordinator's primary, where watchers look first. One of a
// later epoch than the map's names its members; the report is answered when they are in the map.
func (s *Server) reportPrimary(report *pb.ReportPrimaryRequest, deadline time.Time, respond func(*pb.Response)) {
	w := &waiter{primary: parsePrimary(report.GetPrimary()), deadline: deadline, respond: respond}
	if w.primary.Group == 0 {
		respond(invalid("a report of a primary that names no shard"))
		return
	}
	var named *state.Group
	if report.GetGroup() != nil {
		group := parseGroup(report.GetGroup())
		named = &group
	}
	s.mu.Lock()
	l := s.lead
	if l == nil || s.state.Map() == nil {
		s.mu.Unlock()
		s.respond([]answer{{to: w, failure: notServing}})
		return
	}
	change, err := s.primaries.Check(s.state.Map(), w.primary, named)
	if err != nil || change == nil {
		answered := disbelieved(w, err)
		if err == nil {
			answered = s.takeReport(w)
		}
		s.mu.Unlock()
		s.respond([]answer{answered})
		return
	}
	begin, ok := l.await(change.Group.ID, w)
	s.mu.Unlock()
	switch {
	case !ok:
		s.respond([]answer{{to: w, failure: overloaded}})
	case begin:
		s.change(l, change)
	}
}

// await has a report wait for the change of its group's members, and returns whether that is to be proposed now. ok is
// false when too many wait already.
func (l *lead) await(group uint32, w *waiter) (begin, ok bool) {
	underWay := l.changing[group]
	switch {
	case underWay == nil:
		l.changing[group] = &changing{reports: []*waiter{w}}
		return true, true
	case len(underWay.reports) >= reportsMax:
		return false, false
	}
	underWay.reports = append(underWay.reports, w)
	return false, true
}

// change has a group's members replicated. There is one such operation of each group at a time: whatever was reported
// meanwhile is looked at again when it is over, and who reported something later still tries again.
func (s *Server) change(l *lead, change *state.ChangeGroup) {
	s.options.Logger.Info("the members of a group change", "group", change.Group.ID, "epoch", change.Group.Epoch, "members", len(change.Group.Members))
	s.propose(l, func() ([]byte, error) { return encodeChangeGroup(&change.Group) }, func() (answers []answer) {
		if s.lead != l {
			return nil // they were answered when it ended
		}
		for _, w := range l.changing[change.Group.ID].reports {
			answers = append(answers, s.takeReport(w))
		}
		delete(l.changing, change.Group.ID)
		return answers
	})
}

// ownChange returns the change of the coordinator's own members, if the map lacks it and it is not under way, and takes
// it for under way. The caller holds the lock.
func (s *Server) ownChange(l *lead) *state.ChangeGroup {
	current, own := s.state.Map(), s.standing.group
	if current == nil || own == nil || own.Epoch <= current.Coordinator.Epoch || l.changing[0] != nil {
		return nil
	}
	l.changing[0] = &changing{}
	return &state.ChangeGroup{Group: *own}
}

// takeReport lets a report count, if the map has its epoch. The caller holds the lock.
func (s *Server) takeReport(w *waiter) answer {
	current := s.state.Map()
	news, err := s.primaries.Report(current, w.primary)
	if errors.Is(err, state.ErrEpoch) && w.primary.Epoch > current.Group(w.primary.Group).Epoch {
		return answer{to: w, failure: notServing} // the change failed, or was that of an earlier epoch
	}
	if err != nil {
		return disbelieved(w, err)
	}
	if news {
		s.options.Logger.Info("new primary", "group", w.primary.Group, "epoch", w.primary.Epoch, "view", w.primary.View, "replica", w.primary.Replica)
		s.publish()
	}
	return answer{to: w, response: &pb.Response{Body: &pb.Response_ReportPrimary{ReportPrimary: &pb.ReportPrimaryResponse{}}}}
}

// disbelieved answers a report that makes no sense, or comes too late.
func disbelieved(w *waiter, why error) answer {
	return answer{to: w, response: invalid("replica %d at %.255q, primary of group %d in epoch %d: %v",
		w.primary.Replica, w.primary.Address, w.primary.Group, w.primary.Epoch, why)}
}
