package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// members is a group as far as addresses look at it.
type members struct {
	replication.Replicator
	replication.Reconfigurer
	of replication.Membership
}

func (m *members) Membership() replication.Membership { return m.of }

func TestAddressesAreThoseOfTheMembers(t *testing.T) {
	a := addresses{configured: map[uint32]string{1: "one", 2: "two", 3: "three"}}
	require.Equal(t, "one", a.of(1), "before the group is open")
	a.follow(struct{ replication.Replicator }{})
	require.Equal(t, "one", a.of(1), "a backend without changes")

	group := &members{of: replication.Membership{Members: []replication.Member{{ID: 1}, {ID: 2}, {ID: 3}}}}
	a.follow(group)
	require.Equal(t, "one", a.of(1), "of those whom the group began with, only the configuration knows")

	group.of = replication.Membership{Epoch: 1, Members: []replication.Member{{ID: 2}, {ID: 3, Address: "moved"}, {ID: 4, Address: "four"}}}
	for id, want := range map[replication.ReplicaID]string{1: "", 2: "two", 3: "moved", 4: "four", 5: "", 0: ""} {
		require.Equal(t, want, a.of(id), "replica %d", id)
	}
}
