package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

func TestMembersThatAClusterRefuses(t *testing.T) {
	member := func(id replication.ReplicaID, address string) replication.Member {
		return replication.Member{ID: id, Address: address}
	}
	three := []replication.Member{member(5, "h:5"), member(1, "h:1"), member(2, "h:2")}
	eight := make([]replication.Member, 8)
	for i := range eight {
		eight[i] = member(replication.ReplicaID(i+1), "h:"+string(rune('1'+i)))
	}
	for _, c := range []struct {
		name, durability string
		members          []replication.Member
		says             string
	}{
		{"three, in any order", "async", three, ""},
		{"two in sync", "sync", three[:2], ""},
		{"two in memory", "memory", three[:2], "needs 3"},
		{"nobody", "sync", nil, "need 1 to 7"},
		{"too many", "sync", eight, "need 1 to 7"},
		{"no address", "sync", []replication.Member{member(1, "")}, "not host:port"},
		{"one address twice", "sync", []replication.Member{member(1, "h:1"), member(2, "h:1")}, "both have address"},
		{"one id twice", "sync", []replication.Member{member(1, "h:1"), member(1, "h:2")}, "ascend"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&NodeConfig{Group: 1, Durability: c.durability}).checkMembers(c.members)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, c.says)
		})
	}
}
