package shardserver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// lastReport is what the coordinator heard last, after a time in which it must hear something.
func lastReport(t *testing.T, c *cluster) (route.Primary, []route.Member) {
	t.Helper()
	pass(DefaultReportInterval + 2*DefaultScanInterval)
	c.mu.Lock()
	defer c.mu.Unlock()
	require.NotEmpty(t, c.reports)
	primary, members := c.reports[len(c.reports)-1], c.reported[len(c.reports)-1]
	c.reports, c.reported = nil, nil
	return primary, members
}

// TestAPrimaryReportsTheMembers of its epoch, all of them or none.
func TestAPrimaryReportsTheMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var unknown atomic.Uint32
		c := newCluster(t, 1, 3, func(o *Options) {
			o.AddressOf = func(id replication.ReplicaID) string {
				if uint32(id) == unknown.Load() {
					return ""
				}
				return fmt.Sprintf("at-%d:1", id)
			}
		})
		defer c.close()
		group := c.shards[1].group
		primary, members := lastReport(t, c)
		require.Equal(t, route.Primary{Group: 1, Epoch: 7, View: 1, Replica: 1, Address: "at-1:1"}, primary)
		require.Nil(t, members, "the group does not say who they are")

		group.reconfigured(replication.Member{ID: 2}, replication.Member{ID: 3}, replication.Member{ID: 5, Witness: true})
		group.lead(group.members[1])
		primary, members = lastReport(t, c)
		require.Equal(t, route.Primary{Group: 1, Epoch: 8, View: 2, Replica: 2, Address: "at-2:1"}, primary)
		require.Equal(t, []route.Member{
			{Replica: 2, Address: "at-2:1"}, {Replica: 3, Address: "at-3:1"}, {Replica: 5, Address: "at-5:1", Witness: true},
		}, members)

		unknown.Store(3)
		_, members = lastReport(t, c)
		require.Nil(t, members, "where one of them is, nobody knows")
	})
}

// TestAnEarlierEpochsPrimaryIsSilent: a primary that does not know yet that its epoch is over says nothing about the
// members of the next.
func TestAnEarlierEpochsPrimaryIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, nil)
		defer c.close()
		lastReport(t, c)
		group := c.shards[1].group
		group.mu.Lock()
		group.view++ // its events still say that it leads the one before
		group.mu.Unlock()
		group.reconfigured(replication.Member{ID: 1}, replication.Member{ID: 2})
		pass(5 * time.Second)
		require.Empty(t, c.takeReports())
	})
}

// TestWhoHasLeftNamesTheMembers: a replica that is no member any more, or not yet, sends everybody to the primary of the
// newest epoch that it knows, and never to one that is no member.
func TestWhoHasLeftNamesTheMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var present sync.Map
		c := newCluster(t, 1, 3, func(o *Options) {
			o.AddressOf = func(id replication.ReplicaID) string {
				if _, member := present.Load(id); !member {
					return ""
				}
				return fmt.Sprintf("at-%d:1", id)
			}
		})
		defer c.close()
		group, left := c.shards[1].group, c.shards[1].servers[0]
		refused := func(want string) {
			t.Helper()
			refusal := requireCode(t, pb.Code_CODE_NOT_PRIMARY, ask(t, left, readRequest(updateMode, c.key(1, 0))))
			require.Equal(t, want, refusal.GetPrimaryAddress())
			require.Equal(t, group.epoch, refusal.GetEpoch())
			require.EqualValues(t, group.view, refusal.GetView())
		}
		group.lead(group.members[1])
		refused("") // what it knows of the members and of the view are of two moments
		present.Store(replication.ReplicaID(2), true)
		group.reconfigured(replication.Member{ID: 2}, replication.Member{ID: 3})
		refused("at-2:1")
		group.lead(group.members[2])
		refused("")
		present.Store(replication.ReplicaID(3), true)
		refused("at-3:1")
	})
}
