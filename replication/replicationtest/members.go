package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// changes is a replica as one that changes the members.
func (g *group) changes(i int) replication.Reconfigurer {
	g.t.Helper()
	changes, ok := g.replicas[i].(replication.Reconfigurer)
	require.True(g.t, ok, "it is no replication.Reconfigurer")
	return changes
}

// members are those of these places, all with addresses.
func members(places ...int) []replication.Member {
	next := make([]replication.Member, len(places))
	for i, place := range places {
		next[i] = replication.Member{ID: replication.ReplicaID(place + 1), Address: fmt.Sprintf("host-%d:1", place+1)}
	}
	return next
}

// join starts a newcomer, which is no member yet, and returns its place.
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

// wipe has a replica that does not run lose what it had stored. It may come back in a later life.
func (g *group) wipe(i int) {
	g.t.Helper()
	g.directories[i] = g.t.TempDir()
	require.NoError(g.t, g.backend.Create(g.directories[i]))
	g.lost[i]++
}

// again reports whether a change that was refused may be asked for again a little later.
func again(err error) bool {
	return errors.Is(err, replication.ErrNewcomer) || errors.Is(err, replication.ErrQuorum) ||
		errors.Is(err, replication.ErrNotPrimary) || errors.Is(err, replication.ErrReconfiguring)
}

// reconfigure changes the members to those at these places, waiting for newcomers and for a primary, and returns the report
// of the primary that did it.
func (g *group) reconfigure(places ...int) replication.Report {
	g.t.Helper()
	return g.becomes(members(places...)...)
}

// becomes changes the members to these.
func (g *group) becomes(next ...replication.Member) replication.Report {
	g.t.Helper()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	ctx, cancel := context.WithTimeout(g.ctx, 2*patience)
	defer cancel()
	for {
		leader, _ := g.primary()
		before := g.changes(leader).Membership()
		change := replication.Change{Epoch: before.Epoch + 1, Members: next}
		report, err := g.changes(leader).Reconfigure(ctx, change)
		if err == nil {
			require.Equal(g.t, change.Epoch, report.Epoch)
			return report
		}
		if ctx.Err() != nil || !again(err) {
			g.show()
			require.NoError(g.t, err)
		}
		<-pause.C
	}
}

// settled waits until exactly these are members, in this epoch, one of them leads, and all that run know it.
func (g *group) settled(epoch uint64, places ...int) {
	g.t.Helper()
	var ids []replication.ReplicaID
	for _, place := range slices.Sorted(slices.Values(places)) {
		ids = append(ids, g.id(place))
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
	for _, place := range places {
		if g.replicas[place] == nil {
			continue
		}
		membership := g.changes(place).Membership()
		require.Equal(g.t, epoch, membership.Epoch)
		require.Equal(g.t, members(slices.Sorted(slices.Values(places))...), membership.Members)
	}
}

// left waits until a replica has left, makes sure that it refuses everything, and closes it.
func (g *group) left(place int, epoch uint64, next ...int) {
	g.t.Helper()
	g.eventually("a replica has left", func() bool { return g.replicas[place].Status().Protocol == "left" })
	replica, view := g.replicas[place], g.replicas[place].Status().View
	result := replication.Propose(g.ctx, replica, view, []byte("late"))
	for _, err := range []error{result.Err, replication.AwaitReadBarrier(g.ctx, replica, view)} {
		var refused *replication.NotMemberError
		require.ErrorAs(g.t, err, &refused)
		require.True(g.t, replication.DidNotHappen(err))
		require.ErrorIs(g.t, err, replication.ErrNotPrimary)
		require.GreaterOrEqual(g.t, refused.Membership.Epoch, epoch)
		if refused.Membership.Epoch == epoch {
			require.Equal(g.t, members(slices.Sorted(slices.Values(next))...), refused.Membership.Members, "whoever is refused can go on")
		}
		var notPrimary *replication.NotPrimaryError
		require.ErrorAs(g.t, err, &notPrimary)
		require.NotEqual(g.t, g.id(place), notPrimary.Primary)
	}
	g.stop(place)
}

// measured is a figure of replication.Measurer, of one that has it.
func (g *group) measured(place int, name string) uint64 {
	g.t.Helper()
	measurer, ok := g.replicas[place].(replication.Measurer)
	require.True(g.t, ok, "it is no replication.Measurer")
	value, found := measurer.Measure().Values[name]
	require.True(g.t, found, "it does not measure %s", name)
	return value
}

// without are the places but for one.
func without(places []int, one int) []int {
	return slices.DeleteFunc(slices.Clone(places), func(place int) bool { return place == one })
}
