package vr_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// newChangingGroup is a group without files whose members are to change.
func newChangingGroup(t *testing.T, n int, change func(*vr.Options)) *group {
	t.Helper()
	g := newMemoryGroup(t, 0, change)
	g.first, g.gaps = n, true
	for range n {
		g.grow()
	}
	for i := range n {
		g.start(i)
	}
	return g
}

// steady is patient for a while, where others are to be missed in the end.
func steady(o *vr.Options) { o.ViewChangeTimeoutMin = 2 * time.Second }

// grow makes room for one more replica and returns its place.
func (g *group) grow() int {
	g.storages = append(g.storages, storage.NewMemory())
	g.directories, g.machines, g.replicas = append(g.directories, ""), append(g.machines, nil), append(g.replicas, nil)
	return len(g.replicas) - 1
}

// join starts a newcomer, which is no member yet.
func (g *group) join() int {
	g.t.Helper()
	i := g.grow()
	g.joinAt(i)
	return i
}

// joinAt starts the newcomer of a place that is there.
func (g *group) joinAt(i int) {
	g.t.Helper()
	leader, _ := g.primary()
	g.asked[i] = g.replicas[leader].Status().Members
	g.start(i)
}

// members are those of these places, all with addresses: whoever joins knows no others.
func members(places ...int) []replication.Member {
	next := make([]replication.Member, len(places))
	for i, place := range places {
		next[i] = replication.Member{ID: replication.ReplicaID(place + 1), Address: fmt.Sprintf("host-%d:1", place+1)}
	}
	return next
}

// reconfigure changes the members to those at these places.
func (g *group) reconfigure(places ...int) replication.Report {
	g.t.Helper()
	return g.becomes(members(places...)...)
}

// becomes changes the members, waiting for newcomers and for a primary, and returns the report of the primary that did it.
func (g *group) becomes(next ...replication.Member) replication.Report {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for last := error(nil); ; {
		leader, _ := g.primary()
		before := g.replicas[leader].Membership()
		report, err := g.replicas[leader].Reconfigure(ctx, replication.Change{Epoch: before.Epoch + 1, Members: next})
		if err == nil {
			require.Equal(g.t, before.Epoch+1, report.Epoch)
			return report
		}
		if ctx.Err() != nil {
			g.show()
			require.NoError(g.t, errors.Join(ctx.Err(), last))
		}
		last = err
		retry := errors.Is(err, replication.ErrNewcomer) || errors.Is(err, replication.ErrQuorum) || errors.Is(err, replication.ErrNotPrimary)
		require.True(g.t, retry || errors.Is(err, replication.ErrReconfiguring), "%v", err)
		time.Sleep(vr.TickIntervalDefault) // nothing is waited for but time itself: to be heard takes some
	}
}

// settled waits until exactly these are members, in this epoch, one of them leads, and all know it.
func (g *group) settled(epoch uint64, places ...int) {
	g.t.Helper()
	var ids []replication.ReplicaID
	for _, place := range places {
		ids = append(ids, replication.ReplicaID(place+1))
	}
	g.eventually(fmt.Sprintf("epoch %d of %v", epoch, ids), func() bool {
		leading := false
		for _, place := range places {
			if g.replicas[place] == nil {
				continue
			}
			status := g.replicas[place].Status()
			if status.Epoch != epoch || status.Protocol != "normal" || !slices.Equal(status.Members, ids) {
				return false
			}
			leading = leading || status.Leading
		}
		return leading
	})
}

// left waits until a replica has left, and closes it.
func (g *group) left(place int) {
	g.t.Helper()
	g.eventually("a replica has left", func() bool { return g.replicas[place].Status().Protocol == "left" })
	g.stop(place)
}

// sameLogs closes all replicas and compares what is left of their logs on the disks of those at these places.
func (g *group) sameLogs(places ...int) {
	g.t.Helper()
	g.closeAll()
	hashes, compared := map[core.OpNumber]core.Hash{}, 0
	for _, place := range places {
		loaded, err := g.storages[place].Load()
		require.NoError(g.t, err)
		for _, e := range loaded.Entries {
			if hash, known := hashes[e.Op]; known {
				require.Equal(g.t, hash, e.Hash, "op-number %d", e.Op)
				compared++
			}
			hashes[e.Op] = e.Hash
		}
	}
	require.True(g.t, compared > 0 || len(places) == 1)
}

// measured is a value at this moment.
func (g *group) measured(place int, name string) uint64 {
	g.t.Helper()
	values := g.replicas[place].Measure().Values
	require.Contains(g.t, values, name)
	return values[name]
}

func (g *group) operations(place int) uint64 {
	applied, _ := g.machines[place].state()
	return applied
}

// TestOneReconfigurationAtATime, and none beside a transfer of the primary's role.
func TestOneReconfigurationAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newChangingGroup(t, 3, nil)
		leader, _ := g.primary()
		dead := g.backups(leader)[0]
		g.stop(dead)
		ended := make(chan error, 1)
		go func() { ended <- g.replicas[leader].TransferPrimary(t.Context(), replication.ReplicaID(dead+1)) }()
		synctest.Wait()
		_, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader)})
		require.ErrorIs(t, err, replication.ErrTransferUnderWay)
		require.ErrorIs(t, <-ended, replication.ErrBehind)

		// The other backup's answers are lost: the change stays where it is.
		g.network.cut(core.ReplicaID(g.backups(leader)[0]+1), false, true)
		go func() {
			_, err := g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader)})
			ended <- err
		}()
		synctest.Wait()
		_, err = g.replicas[leader].Reconfigure(t.Context(), replication.Change{Members: members(leader)})
		require.ErrorIs(t, err, replication.ErrReconfiguring)
		require.ErrorIs(t, g.replicas[leader].TransferPrimary(t.Context(), 0), replication.ErrReconfiguring)
		g.network.heal()
		require.NoError(t, <-ended)
		g.settled(1, leader)
		g.closeAll()
	})
}
