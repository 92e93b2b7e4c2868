package route

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// unconnected is a Router that asks nobody.
func unconnected(t *testing.T) *Router {
	r := &Router{groups: map[uint32]*groupState{CoordinatorGroup: {}}, nodes: map[string]*node{}, arrived: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	r.cancel()
	r.alarm.init()
	return r
}

// mapOf has shard 1 at these addresses in an epoch, and the coordinator at c.
func mapOf(t *testing.T, version, epoch uint64, addresses ...string) *Map {
	wire := &pb.Group{Id: 1, Epoch: epoch}
	for i, address := range addresses {
		wire.Members = append(wire.Members, &pb.Member{Replica: uint32(epoch) + uint32(i) + 1, Address: address})
	}
	message := goodMap()
	message.Version, message.Shards = version, []*pb.Group{wire}
	for i := range message.Slots {
		message.Slots[i] = 1
	}
	m, err := newMap([16]byte{7}, message)
	require.NoError(t, err)
	return m
}

func (r *Router) known() []string { return slices.Sorted(maps.Keys(r.nodes)) }

// TestNodesOfNobodyAreClosed: when no group has an address any more, as soon as nothing waits for an answer from there.
func TestNodesOfNobodyAreClosed(t *testing.T) {
	r := unconnected(t)
	r.adopt(mapOf(t, 1, 0, "x", "y", "z"))
	for _, address := range []string{"c", "x", "y", "z"} {
		_, err := r.newNode(address)
		require.NoError(t, err)
	}
	busy := r.nodes["x"]
	busy.unanswered[1] = &copyOf{message: &pb.Request{Id: 1}}
	r.adopt(mapOf(t, 2, 1, "z", "v", "w"))
	require.Equal(t, []string{"c", "x", "z"}, r.known())
	r.learn(nil)
	require.Equal(t, []string{"c", "x", "z"}, r.known(), "an answer is to come from x")
	busy.remove(1, busy.unanswered[1])
	r.learn(nil)
	require.Equal(t, []string{"c", "z"}, r.known())
	require.True(t, busy.closed)

	r.learn([]*pb.Primary{{Group: 1, Epoch: 2, View: 9, Address: "u"}}) // the map will have it soon
	_, err := r.newNode("u")
	require.NoError(t, err)
	r.learn(nil)
	require.Equal(t, []string{"c", "u", "z"}, r.known())
	r.adoptCoordinator(&membership{epoch: 1, members: []Member{{Replica: 4, Address: "d"}}})
	require.Equal(t, []string{"u", "z"}, r.known())
}

// TestMembersOfALaterEpochCount, whatever the version of the map that names them; all else in it is by the version.
func TestMembersOfALaterEpochCount(t *testing.T) {
	r := unconnected(t)
	newest := mapOf(t, 9, 2, "x", "y")
	r.adopt(newest)
	r.adopt(mapOf(t, 7, 1, "a", "b"))
	r.adopt(mapOf(t, 9, 2, "a", "b"))
	require.Equal(t, []string{"x", "y"}, r.groups[1].members)
	r.adopt(mapOf(t, 8, 3, "z"))
	require.Equal(t, []string{"z"}, r.groups[1].members)
	require.Same(t, newest, r.Map())
}

// TestNodesAreBoundedForYears: more addresses than a Router ever knows at one time may come and go.
func TestNodesAreBoundedForYears(t *testing.T) {
	r := unconnected(t)
	for i := range uint64(3 * nodesMax) {
		address := fmt.Sprint("n", i)
		if i%100 == 0 {
			r.adopt(mapOf(t, i+1, i, address, address+"b"))
		}
		r.learn([]*pb.Primary{{Group: 1, Epoch: i, View: i, Address: address}})
		n, err := r.choose(1)
		require.NoError(t, err)
		require.Equal(t, address, n.address)
		require.LessOrEqual(t, len(r.nodes), 3)
	}
	for i := range nodesMax + 10 { // and when no news come in between
		_, err := r.newNode(fmt.Sprint("m", i))
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(r.nodes), nodesMax)
}
