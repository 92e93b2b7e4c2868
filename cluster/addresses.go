package cluster

import (
	"sync/atomic"

	"github.com/viewline/viewline/replication"
)

// addresses says where the members of a node's group are reached. Who is a member, the group's Membership says, and the
// addresses too; where it names none, as of the members that a group began with, the configuration does.
type addresses struct {
	// configured are those of the node's file; never changed once the node has begun to start.
	configured map[uint32]string
	group      atomic.Pointer[replication.Reconfigurer]
}

// follow takes the members from the group from here on, if its backend can change them.
func (a *addresses) follow(group replication.Replicator) {
	if members, changes := group.(replication.Reconfigurer); changes {
		a.group.Store(&members)
	}
}

// of is where a member is reached, or "" for who is none. Safe for any number of goroutines.
func (a *addresses) of(replica replication.ReplicaID) string {
	configured := a.configured[uint32(replica)]
	group := a.group.Load()
	if group == nil {
		return configured
	}
	for _, member := range (*group).Membership().Members {
		switch {
		case member.ID != replica:
		case member.Address != "":
			return member.Address
		default:
			return configured
		}
	}
	return ""
}

func addressesOf(members []Member) map[uint32]string {
	addresses := make(map[uint32]string, len(members))
	for _, member := range members {
		addresses[member.Replica] = member.Address
	}
	return addresses
}
