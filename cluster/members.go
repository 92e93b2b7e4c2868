package cluster

import (
	"cmp"
	"slices"

	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/replication"
)

// common is what a newcomer's node is configured with as this one is.
func (c *NodeConfig) common() node.Common {
	return node.Common{Placement: c.Placement, Leases: c.leaseDuration() >= 0, Check: c.checkMembers}
}

// checkMembers refuses, by the rules of a layout, what cannot be the group's members. All of them need addresses, so that
// each finds the others who has only heard of the change.
func (c *NodeConfig) checkMembers(members []replication.Member) error {
	group := make([]Member, len(members))
	for i, member := range members {
		group[i] = Member{Replica: uint32(member.ID), Address: member.Address, Witness: member.Witness}
	}
	slices.SortStableFunc(group, func(a, b Member) int { return cmp.Compare(a.Replica, b.Replica) })
	return c.group(group).validate(map[string]string{})
}
