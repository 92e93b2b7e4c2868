package route

import (
	"fmt"
	"slices"

	"github.com/viewline/viewline/internal/placement"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// CoordinatorGroup is the coordinator's number among the groups; every other group is the shard of its number.
const CoordinatorGroup = 0

// Member is one replica of a group and the address of its node. A witness is never primary and serves nobody.
type Member struct {
	Replica uint32
	Address string
	Witness bool
}

// Map says which shard serves which object and who the members of the groups are. It is advice: the shards' own
// logs decide what they serve. A Map never changes; Router.Map returns the newest.
type Map struct {
	// Version grows with every change.
	Version uint64
	// Cluster is the id of the cluster that it belongs to.
	Cluster [16]byte

	slots  [placement.SlotCount]txn.ShardID
	groups map[uint32][]Member
	shards []txn.ShardID
}

// Locate returns the shard that serves an object.
func (m *Map) Locate(oid string) txn.ShardID { return m.slots[placement.Slot(oid)] }

// Has reports whether there is such a shard.
func (m *Map) Has(shard txn.ShardID) bool {
	return shard != CoordinatorGroup && m.groups[uint32(shard)] != nil
}

// Shards returns all shards, ascending. The slice must not be changed.
func (m *Map) Shards() []txn.ShardID { return m.shards }

// Slots returns the slots that a shard serves, ascending, in a new slice.
func (m *Map) Slots(shard txn.ShardID) []uint16 {
	var slots []uint16
	for slot, owner := range m.slots {
		if owner == shard {
			slots = append(slots, uint16(slot))
		}
	}
	return slots
}

// Members returns a group's members, ascending by replica, or nil if there is no such group. The slice must not
// be changed.
func (m *Map) Members(group uint32) []Member { return m.groups[group] }

// newMap checks a map from the wire whole and converts it.
func newMap(cluster [16]byte, wire *pb.ShardMap) (*Map, error) {
	if wire.GetVersion() == 0 {
		return nil, fmt.Errorf("route: map without a version")
	}
	if wire.GetTechnique() != pb.Technique_TECHNIQUE_HASH {
		return nil, fmt.Errorf("route: map with placement technique %v, which is not known here", wire.GetTechnique())
	}
	if len(wire.GetSlots()) != placement.SlotCount {
		return nil, fmt.Errorf("route: map with %d slots instead of %d", len(wire.GetSlots()), placement.SlotCount)
	}
	m := &Map{Version: wire.GetVersion(), Cluster: cluster, groups: map[uint32][]Member{}}
	for i, group := range append([]*pb.Group{wire.GetCoordinator()}, wire.GetShards()...) {
		if i > 0 && group.GetId() == CoordinatorGroup || i == 0 && group.GetId() != CoordinatorGroup || m.groups[group.GetId()] != nil {
			return nil, fmt.Errorf("route: map with group %d out of place", group.GetId())
		}
		members, err := newMembers(group)
		if err != nil {
			return nil, err
		}
		m.groups[group.GetId()] = members
		if i > 0 {
			m.shards = append(m.shards, txn.ShardID(group.GetId()))
		}
	}
	slices.Sort(m.shards)
	for slot, shard := range wire.GetSlots() {
		if !m.Has(txn.ShardID(shard)) {
			return nil, fmt.Errorf("route: map gives slot %d to shard %d, which it does not have", slot, shard)
		}
		m.slots[slot] = txn.ShardID(shard)
	}
	return m, nil
}

func newMembers(group *pb.Group) ([]Member, error) {
	var members []Member
	for _, member := range group.GetMembers() {
		if member.GetReplica() == 0 || member.GetAddress() == "" {
			return nil, fmt.Errorf("route: map with a member of group %d that has no number or no address", group.GetId())
		}
		members = append(members, Member{Replica: member.GetReplica(), Address: member.GetAddress()})
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("route: map with no members of group %d", group.GetId())
	}
	slices.SortFunc(members, func(a, b Member) int { return int(int64(a.Replica) - int64(b.Replica)) })
	return members, nil
}
