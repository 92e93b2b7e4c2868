package raft

import (
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

const (
	// membersMax and addressBytesMax are as in the other backend.
	membersMax      = 63
	addressBytesMax = 255
	// membersBytesMax is more than any membership takes.
	membersBytesMax = 64 << 10
)

// membership is the members of an epoch. It is never changed. hashicorp/raft's configuration follows it (drive.go).
type membership struct {
	replication.Membership
	index, term uint64 // of the command that began it; 0 for the first
}

// firstMembership is that of epoch 0.
func firstMembership(ids []replication.ReplicaID) *membership {
	m := &membership{}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		m.Members = append(m.Members, replication.Member{ID: id})
		m.LargestID = id
	}
	return m
}

// firstMembership is what a replica goes by until its log or its snapshot says more.
func (o Options) firstMembership() *membership {
	if o.joins() {
		return &membership{}
	}
	return firstMembership(o.Members)
}

// known reports whether it is more than that of a newcomer that was told nothing yet.
func (m *membership) known() bool { return len(m.Members) > 0 }

// member is the one of an id.
func (m *membership) member(id replication.ReplicaID) (replication.Member, bool) {
	at := slices.IndexFunc(m.Members, func(member replication.Member) bool { return member.ID == id })
	if at < 0 {
		return replication.Member{}, false
	}
	return m.Members[at], true
}

// has reports whether a peer is a member, in this very life.
func (m *membership) has(p peer) bool {
	member, found := m.member(p.id)
	return found && member.Incarnation == p.incarnation
}

// admits reports whether a peer may become a member: an id that was one is never again one, but in a later life of a member.
func (m *membership) admits(p peer) bool {
	member, found := m.member(p.id)
	if found {
		return p.incarnation > member.Incarnation
	}
	return p.id > m.LargestID
}

func (m *membership) ids() []replication.ReplicaID {
	ids := make([]replication.ReplicaID, len(m.Members))
	for i, member := range m.Members {
		ids[i] = member.ID
	}
	return ids
}

// describe is a copy for the caller.
func (m *membership) describe() replication.Membership {
	described := m.Membership
	described.Members = slices.Clone(described.Members)
	return described
}

func memberPeer(member replication.Member) peer { return peer{member.ID, member.Incarnation} }

// next is the membership that a change makes of this one. Errors are replication.ErrMembership.
func (m *membership) next(change replication.Change) (*membership, error) {
	refuse := func(format string, values ...any) (*membership, error) {
		return nil, fmt.Errorf("%w: %s", replication.ErrMembership, fmt.Sprintf(format, values...))
	}
	next := &membership{Membership: replication.Membership{Epoch: m.Epoch + 1, Members: slices.Clone(change.Members), LargestID: m.LargestID}}
	slices.SortStableFunc(next.Members, func(a, b replication.Member) int { return cmp.Compare(a.ID, b.ID) })
	if change.Epoch != 0 && change.Epoch != next.Epoch {
		return refuse("epoch %d cannot begin in epoch %d", change.Epoch, m.Epoch)
	}
	if n := len(next.Members); n < 1 || n > membersMax {
		return refuse("%d members, from 1 to %d are possible", n, membersMax)
	}
	for i, member := range next.Members {
		was, known := m.member(member.ID)
		switch {
		case member.ID == 0:
			return refuse("ids begin at 1")
		case i > 0 && next.Members[i-1].ID == member.ID:
			return refuse("replica %d is there twice", member.ID)
		case member.Witness:
			return refuse("replica %d would be a witness, which Raft does not have", member.ID)
		case len(member.Address) > addressBytesMax || !utf8.ValidString(member.Address):
			return refuse("an address of %d bytes, or that is no text", len(member.Address))
		case member.Incarnation < was.Incarnation:
			return refuse("replica %d is of incarnation %d, and goes back to %d", member.ID, was.Incarnation, member.Incarnation)
		case !known && member.ID <= m.LargestID:
			return refuse("id %d was used before, a new one is above %d", member.ID, m.LargestID)
		}
		next.LargestID = max(next.LargestID, member.ID)
	}
	if slices.Equal(next.Members, m.Members) {
		return refuse("%v are the members already", m.ids())
	}
	return next, nil
}

func (m *membership) message() *pb.RaftMembership {
	message := &pb.RaftMembership{Epoch: m.Epoch, LargestId: uint32(m.LargestID), Index: m.index, IndexTerm: m.term}
	for _, member := range m.Members {
		message.Members = append(message.Members, &pb.RaftMember{Id: uint32(member.ID), Incarnation: member.Incarnation, Address: member.Address})
	}
	return message
}

// encode is the membership as a command and as a part of a snapshot.
func (m *membership) encode() []byte {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.message())
	if err != nil {
		panic(err) // an address that is no text was refused before
	}
	return data
}

func decodeMembership(data []byte) (*membership, error) {
	message := new(pb.RaftMembership)
	if err := proto.Unmarshal(data, message); err != nil {
		return nil, fmt.Errorf("%w: members: %w", errMalformed, err)
	}
	return membershipOf(message)
}

func membershipOf(message *pb.RaftMembership) (*membership, error) {
	if len(message.GetMembers()) > membersMax {
		return nil, fmt.Errorf("%w: %d members", errMalformed, len(message.GetMembers()))
	}
	m := &membership{index: message.GetIndex(), term: message.GetIndexTerm()}
	m.Epoch, m.LargestID = message.GetEpoch(), replication.ReplicaID(message.GetLargestId())
	last := replication.ReplicaID(0)
	for _, member := range message.GetMembers() {
		id := replication.ReplicaID(member.GetId())
		if id <= last || id > m.LargestID {
			return nil, fmt.Errorf("%w: member %d after %d", errMalformed, id, last)
		}
		last = id
		m.Members = append(m.Members, replication.Member{ID: id, Incarnation: member.GetIncarnation(), Address: member.GetAddress()})
	}
	return m, nil
}

// firstOf is the membership of epoch 0, by the configuration that every log begins with.
func firstOf(configuration hraft.Configuration) *membership {
	var ids []replication.ReplicaID
	for _, id := range voters(configuration) {
		ids = append(ids, replicaID(id))
	}
	return firstMembership(ids)
}
