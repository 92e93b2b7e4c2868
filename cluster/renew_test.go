package cluster_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
)

// The first change that a group ever makes is the return of a member that has lost its disk, whichever it is. Until then
// its later life knows of the first epoch only whom to ask, and is not believed to know who the members are.
func TestTheFirstChangeIsAReturn(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1})
	connected := clustertest.Clerk(t, c)
	put(t, connected, "a", "1")
	const lost = 1 // whom a tie of epochs would be decided for
	require.NoError(t, c.Kill(1, lost))
	require.NoError(t, c.RenewNode(within(t), 1, lost))
	require.NoError(t, c.ChangeMembers(within(t), 1, []uint32{lost}, []uint32{lost}))
	require.NoError(t, c.AwaitWhole(within(t)))
	put(t, connected, "b", "2")
	for n, oid := range []string{"a", "b"} {
		requireValue(t, connected, oid, fmt.Sprint(n+1))
	}
	requireSameStates(t, c, 3)
}
