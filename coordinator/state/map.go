package state

import (
	"slices"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/txn"
)

// The bounds of a layout. A Duke-sized cluster has a handful of shards; the bounds keep a map within one message
// and a group within what replication takes.
const (
	MembersMax      = 63
	AddressBytesMax = 255
)

// Technique says how an object is placed.
type Technique uint8

// Hash places by the hash of the oid; it is the only technique.
const Hash Technique = 1

// Member is one replica of a group. A witness is never primary and serves nobody.
type Member struct {
	Replica uint32
	Address string
	Witness bool
}

// Group is the coordinator's group (ID 0) or a shard's, in one epoch.
type Group struct {
	ID      uint32
	Epoch   uint64   // counts the changes of its members
	Members []Member // ascending by replica
}

// Member returns the member with a replica's number.
func (g *Group) Member(replica uint32) (Member, bool) {
	at, found := slices.BinarySearchFunc(g.Members, replica, func(m Member, replica uint32) int { return compare(m.Replica, replica) })
	if !found {
		return Member{}, false
	}
	return g.Members[at], true
}

// Map says which shard serves which slot, and who the members of the groups are. It is never changed once it
// was validated.
type Map struct {
	Version     uint64
	Technique   Technique
	Coordinator Group
	Shards      []Group // ascending by ID, from 1
	Slots       [placement.SlotCount]uint32
}

// Locate returns the shard that serves an object.
func (m *Map) Locate(oid string) uint32 { return m.Slots[placement.Slot(oid)] }

// Group returns a group by its number, or nil.
func (m *Map) Group(id uint32) *Group {
	if id == m.Coordinator.ID {
		return &m.Coordinator
	}
	at, found := slices.BinarySearchFunc(m.Shards, id, func(g Group, id uint32) int { return compare(g.ID, id) })
	if !found {
		return nil
	}
	return &m.Shards[at]
}

// Validate names the first thing that is wrong with the map, or returns nil. Every error is ErrLayout.
func (m *Map) Validate() error {
	switch {
	case m.Version == 0:
		return malformed("the version is 0")
	case m.Technique != Hash:
		return malformed("unknown placement technique %d", m.Technique)
	case m.Coordinator.ID != 0:
		return malformed("the coordinator's group is 0, not %d", m.Coordinator.ID)
	case len(m.Shards) == 0 || len(m.Shards) > txn.ParticipantsMax:
		return malformed("%d shards instead of 1 to %d", len(m.Shards), txn.ParticipantsMax)
	}
	if err := m.Coordinator.Validate(); err != nil {
		return err
	}
	last := uint32(0)
	for i := range m.Shards {
		if m.Shards[i].ID <= last {
			return malformed("shards are not ascending from 1: %d after %d", m.Shards[i].ID, last)
		}
		last = m.Shards[i].ID
		if err := m.Shards[i].Validate(); err != nil {
			return err
		}
	}
	for slot, shard := range m.Slots {
		if shard == 0 || m.Group(shard) == nil {
			return malformed("slot %d belongs to shard %d, which does not exist", slot, shard)
		}
	}
	return nil
}

// change returns the next map, in which a group is another one; that group is validated and in the map. The map itself
// stays as it is.
func (m *Map) change(group Group) *Map {
	next := *m
	next.Version++
	next.Shards = slices.Clone(m.Shards)
	*next.Group(group.ID) = group
	return &next
}

// Validate names the first thing that is wrong with the group, or returns nil. Every error is ErrLayout.
func (g *Group) Validate() error {
	if len(g.Members) == 0 || len(g.Members) > MembersMax {
		return malformed("group %d has %d members instead of 1 to %d", g.ID, len(g.Members), MembersMax)
	}
	last, serving := uint32(0), false
	for _, member := range g.Members {
		serving = serving || !member.Witness
		if member.Replica <= last {
			return malformed("the members of group %d are not ascending from 1: %d after %d", g.ID, member.Replica, last)
		}
		last = member.Replica
		if member.Address == "" || len(member.Address) > AddressBytesMax {
			return malformed("replica %d of group %d has an address of %d bytes", member.Replica, g.ID, len(member.Address))
		}
	}
	if !serving {
		return malformed("the members of group %d are witnesses, all of them", g.ID)
	}
	return nil
}

func compare(a, b uint32) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
