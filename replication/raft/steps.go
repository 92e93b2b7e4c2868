package raft

import (
	"slices"

	hraft "github.com/hashicorp/raft"
)

// deed is what a leader does to bring hashicorp/raft's configuration closer to the members.
type deed int

const (
	deedNone deed = iota
	// deedHandOver: the leadership goes to a server, since who leads is no member any more.
	deedHandOver
	deedAdd     // as one that does not vote
	deedPromote // to a voter
	deedRemove
)

// step is one deed and the server that it is done to.
type step struct {
	deed   deed
	server peer
}

// scene is what the next step depends on.
type scene struct {
	self          peer
	members       *membership
	configuration hraft.Configuration
	newcomers     []peer          // who ask to become members, and are heard
	heard         func(peer) bool // lately
	caughtUp      func(peer) bool // it has almost all of the log, and is heard
}

// nextStep is pure. One server at a time is changed, and each step is safe by itself (Raft dissertation, 4.1 and 4.2.1); their
// order is for the group to go on meanwhile. Voters who are dead or whose life is over go first, since without them fewer
// suffice; newcomers get the log before they vote; who leaves goes when all who stay or come vote; who leads and leaves hands
// the leadership over as soon as a member can have it.
func nextStep(s *scene) step {
	for _, next := range []func(*scene) step{removeLost, handOver, admitMembers, removeLeavers, tendNewcomers} {
		if found := next(s); found.deed != deedNone {
			return found
		}
	}
	return step{}
}

func (s *scene) server(p peer) (hraft.Server, bool) {
	at := slices.IndexFunc(s.configuration.Servers, func(server hraft.Server) bool { return server.ID == p.server() })
	if at < 0 {
		return hraft.Server{}, false
	}
	return s.configuration.Servers[at], true
}

// leavers are the servers that are not members.
func (s *scene) leavers(suffrage hraft.ServerSuffrage) []peer {
	var found []peer
	for _, server := range s.configuration.Servers {
		if p := peerOf(server.ID); server.Suffrage == suffrage && !s.members.has(p) && p != s.self {
			found = append(found, p)
		}
	}
	return found
}

// removeLost removes a voter whose later life is a member, or who is to leave and is not heard.
func removeLost(s *scene) step {
	for _, p := range s.leavers(hraft.Voter) {
		if _, again := s.members.member(p.id); again || !s.heard(p) {
			return step{deedRemove, p}
		}
	}
	return step{}
}

// handOver has a member lead.
func handOver(s *scene) step {
	if s.members.has(s.self) {
		return step{}
	}
	for _, member := range s.members.Members {
		p := memberPeer(member)
		if server, there := s.server(p); there && server.Suffrage == hraft.Voter && s.caughtUp(p) {
			return step{deedHandOver, p}
		}
	}
	return step{}
}

// admitMembers adds and promotes members.
func admitMembers(s *scene) step {
	for _, member := range s.members.Members {
		p := memberPeer(member)
		switch server, there := s.server(p); {
		case !there:
			return step{deedAdd, p}
		case server.Suffrage != hraft.Voter && s.caughtUp(p):
			return step{deedPromote, p}
		}
	}
	return step{}
}

// removeLeavers removes those who are no members, when all members vote.
func removeLeavers(s *scene) step {
	for _, member := range s.members.Members {
		if server, there := s.server(memberPeer(member)); !there || server.Suffrage != hraft.Voter {
			return step{}
		}
	}
	if leavers := s.leavers(hraft.Voter); len(leavers) > 0 {
		return step{deedRemove, leavers[0]}
	}
	return step{}
}

// tendNewcomers gives the log to those who ask to become members, and no more to those who ask no more.
func tendNewcomers(s *scene) step {
	for _, p := range s.leavers(hraft.Nonvoter) {
		if !slices.Contains(s.newcomers, p) {
			return step{deedRemove, p}
		}
	}
	for _, p := range s.newcomers {
		if _, there := s.server(p); !there && s.members.admits(p) {
			return step{deedAdd, p}
		}
	}
	return step{}
}

// settledOn reports whether the configuration's voters are the members and nobody else.
func settledOn(members *membership, configuration hraft.Configuration) bool {
	ids := voters(configuration)
	if len(ids) != len(members.Members) {
		return false
	}
	for _, id := range ids {
		if !members.has(peerOf(id)) {
			return false
		}
	}
	return true
}
