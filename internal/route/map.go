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
	groups map[uint32]*membership
	shards []txn.ShardID
}

// membership is the members of a group in an epoch, ascending by replica.
type membership struct {
	epoch   uint64
	members []Member
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
func (m *Map) Members(group uint32) []Member {
	if known := m.groups[group]; known != nil {
		return known.members
	}
	return nil
}

// Epoch returns how often a group's members had changed, 0 if there is no such group.
func (m *Map) Epoch(group uint32) uint64 {
	if known := m.groups[group]; known != nil {
		return known.epoch
	}
	return 0
}

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
	m := &Map{Version: wire.GetVersion(), Cluster: cluster, groups: map[uint32]*membership{}}
	for i, group := range append([]*pb.Group{wire.GetCoordinator()}, wire.GetShards()...) {
		if i > 0 && group.GetId() == CoordinatorGroup || i == 0 && group.GetId() != CoordinatorGroup || m.groups[group.GetId()] != nil {
			return nil, fmt.Errorf("route: map with group %d out of place", group.GetId())
		}
		known, err := newMembership(group)
		if err != nil {
			return nil, err
		}
		m.groups[group.GetId()] = known
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

func newMembership(group *pb.Group) (*membership, error) {
	known := &membership{epoch: group.GetEpoch()}
	serving := false
	for _, member := range group.GetMembers() {
		if member.GetReplica() == 0 || member.GetAddress() == "" {
			return nil, fmt.Errorf("route: map with a member of group %d that has no number or no address", group.GetId())
		}
		known.members = append(known.members, Member{Replica: member.GetReplica(), Address: member.GetAddress(), Witness: member.GetWitness()})
		serving = serving || !member.GetWitness()
	}
	if !serving {
		return nil, fmt.Errorf("route: map with no members of group %d that can serve", group.GetId())
	}
	slices.SortFunc(known.members, func(a, b Member) int { return int(int64(a.Replica) - int64(b.Replica)) })
	return known, nil
}
