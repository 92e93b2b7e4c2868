package replicationtest

import (
	"errors"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// addAMember: the newcomer learns everything first, and then counts.
func addAMember(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 20)
	fresh := g.join()
	require.Equal(t, "transitioning", g.replicas[fresh].Status().Protocol)
	require.False(t, g.replicas[fresh].Status().Leading)
	report := g.reconfigure(0, 1, 2, fresh)
	require.Len(t, report.Replicas, 4)
	for i, row := range report.Replicas {
		require.Equal(t, g.id(i), row.ID)
		require.True(t, row.Will)
		require.Equal(t, i != fresh, row.Was)
	}
	require.True(t, report.Replicas[fresh].Ready)
	g.settled(1, 0, 1, 2, fresh)
	require.EqualValues(t, 4, g.changes(fresh).Membership().LargestID)
	g.mustCommit(21, 30)
	primary, _ := g.primary()
	g.stop(without(g.backups(primary), fresh)[0]) // three of four are left: the newcomer is needed
	g.mustCommit(31, 40)
	g.finished(40)
}

// removeABackup: it leaves, refuses what it is asked, and is not needed.
func removeABackup(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	primary, _ := g.primary()
	leaves := g.backups(primary)[0]
	stay := without([]int{0, 1, 2}, leaves)
	g.reconfigure(stay...)
	g.settled(1, stay...)
	g.left(leaves, 1, stay...)
	g.mustCommit(11, 20)
	g.finished(20)
}

// replaceABackup that is dead: the newcomer takes its place in one change, and the group bears another failure.
func replaceABackup(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 20)
	primary, _ := g.primary()
	dead := g.backups(primary)[0]
	g.stop(dead)
	fresh := g.join()
	next := without([]int{0, 1, 2, fresh}, dead)
	g.reconfigure(next...)
	g.settled(1, next...)
	g.mustCommit(21, 40)
	primary, _ = g.primary()
	second := without(g.backups(primary), fresh)[0]
	g.stop(second)
	g.mustCommit(41, 60)
	// The dead one comes back, hears that it is a member no more, and leaves.
	g.start(second)
	g.start(dead)
	g.left(dead, 1, next...)
	g.settled(1, next...)
	g.finished(60)
}

// replaceThePrimary: another one leads a later view, and the old primary refuses what it is asked.
func replaceThePrimary(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 20)
	fresh := g.join()
	for epoch := uint64(1); epoch <= 2; epoch++ {
		old, view := g.primary()
		stay := g.backups(old)
		if epoch == 1 { // the second time nobody comes for it
			g.reconfigureFrom(&old, &view, &stay, fresh)
		} else {
			g.reconfigureFrom(&old, &view, &stay)
		}
		g.settled(epoch, stay...)
		now, later := g.primary()
		require.NotEqual(t, old, now)
		require.Greater(t, later, view)
		g.left(old, epoch, stay...)
		g.mustCommit(21*int(epoch), 21*int(epoch)+9)
	}
	g.converged(40)
}

// reconfigureFrom has whoever is primary leave, with its members of now: the view may change before that.
func (g *group) reconfigureFrom(old *int, view *replication.ViewNumber, stay *[]int, newcomers ...int) {
	g.t.Helper()
	g.eventually("a primary takes its leave", func() bool {
		*old, *view = g.primary()
		present := g.changes(*old).Membership()
		*stay = slices.Clone(newcomers)
		for _, member := range present.Members {
			if member.ID != g.id(*old) {
				*stay = append(*stay, int(member.ID)-1)
			}
		}
		slices.Sort(*stay)
		_, err := g.changes(*old).Reconfigure(g.ctx, replication.Change{Epoch: present.Epoch + 1, Members: members(*stay...)})
		require.True(g.t, err == nil || again(err), "%v", err)
		return err == nil
	})
}

// threeToFiveAndBack under load, without the primary and another one in the end. Nobody who proposes is left in doubt.
func threeToFiveAndBack(t T, b Backend) {
	g := newGroup(t, b, 3, Options{Patient: true})
	l := g.underLoad(4)
	l.more(20)
	g.join()
	g.join()
	g.reconfigure(0, 1, 2, 3, 4)
	g.settled(1, 0, 1, 2, 3, 4)
	l.more(20)
	primary, view := g.primary()
	rest := g.backups(primary)
	stay := rest[1:]
	g.reconfigure(stay...)
	g.settled(2, stay...)
	_, later := g.primary()
	require.Greater(t, later, view)
	l.more(20)
	g.left(primary, 2, stay...)
	g.left(rest[0], 2, stay...)
	require.Zero(t, unknown(g.account(l)), "what was taken is finished in the old epoch")
}

// fiveToThreeToOne under load, each time without the primary and another one.
func fiveToThreeToOne(t T, b Backend) {
	g := newGroup(t, b, 5, Options{Patient: true})
	l := g.underLoad(4)
	stay := []int{0, 1, 2, 3, 4}
	for epoch := uint64(1); len(stay) > 1; epoch++ {
		l.more(20)
		primary, view := g.primary()
		leave := []int{primary, without(stay, primary)[0]}
		stay = without(without(stay, leave[0]), leave[1])
		g.reconfigure(stay...)
		g.settled(epoch, stay...)
		_, later := g.primary()
		require.Greater(t, later, view)
		for _, i := range leave {
			g.left(i, epoch, stay...)
		}
	}
	l.more(20)
	require.Zero(t, unknown(g.account(l)), "what was taken is finished in the old epoch")
}

// growingFromOne to three and five under load, one by one dead meanwhile.
func growingFromOne(t T, b Backend) {
	g := newGroup(t, b, 1, Options{Patient: true})
	l := g.underLoad(4)
	l.more(20)
	g.join()
	g.join()
	g.reconfigure(0, 1, 2)
	g.settled(1, 0, 1, 2)
	l.more(20)
	primary, _ := g.primary()
	dead := g.backups(primary)[0]
	g.stop(dead)
	g.join()
	g.join()
	g.reconfigure(0, 1, 2, 3, 4)
	l.more(20)
	g.start(dead)
	g.settled(2, 0, 1, 2, 3, 4)
	require.Zero(t, unknown(g.account(l)), "what was taken is finished in the old epoch")
}

// everybodyIsReplaced one by one under load: nothing that was acknowledged is lost, and nobody of the first group is left.
func everybodyIsReplaced(t T, b Backend) {
	g := newGroup(t, b, 3, Options{Patient: true, CheckpointEvery: 50})
	l := g.underLoad(4)
	present := []int{0, 1, 2}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		l.more(20)
		leaves := int(epoch) - 1
		present = append(without(present, leaves), g.join())
		g.reconfigure(present...)
		g.settled(epoch, present...)
		g.left(leaves, epoch, present...)
	}
	l.more(20)
	g.account(l)
	require.Equal(t, []int{3, 4, 5}, present)
}

// restartsFindTheNewestEpoch, with the options that each was opened with first, all at one time and each alone.
func restartsFindTheNewestEpoch(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	primary, _ := g.primary()
	stay := append(g.backups(primary), g.join())
	g.reconfigure(stay...)
	g.settled(1, stay...)
	g.mustCommit(11, 20)
	g.left(primary, 1, stay...)
	for _, i := range stay {
		g.stop(i)
	}
	for _, i := range stay {
		g.start(i)
	}
	g.settled(1, stay...)
	last := 20
	for _, i := range stay {
		g.stop(i)
		g.mustCommit(last+1, last+10)
		last += 10
		g.start(i)
		g.whole(i)
	}
	g.settled(1, stay...)
	g.finished(last)
}

// aMemberThatWasAway for two epochs is told, and enters the newest.
func aMemberThatWasAway(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 10)
	primary, _ := g.primary()
	away := g.backups(primary)[0]
	for epoch := range uint64(2) {
		fresh := g.join()
		g.network.isolate(g.id(away))
		everybody := []int{0, 1, 2, 3}
		if epoch == 1 {
			everybody = append(everybody, fresh)
		}
		g.reconfigure(everybody...)
		g.settledBut(away, epoch+1)
	}
	g.mustCommit(11, 20, away)
	require.Zero(t, g.changes(away).Membership().Epoch)
	g.network.heal()
	g.settled(2, 0, 1, 2, 3, 4)
	g.mustCommit(21, 25)
	g.finished(25)
}

// laterLifeOfAMember that has lost what it had stored: it takes part in nothing until the group has committed that, and then
// it counts. Its earlier life does not, when it turns up again.
func laterLifeOfAMember(t T, b Backend) {
	g := newGroup(t, b, 3, Options{})
	g.mustCommit(1, 20)
	primary, _ := g.primary()
	lost := g.backups(primary)[0]
	earlier := g.directories[lost]
	next := members(0, 1, 2)
	next[lost].Incarnation = 1
	g.eventually("it is heard in its first life", func() bool {
		primary, _ = g.primary()
		_, err := g.changes(primary).Reconfigure(g.ctx, replication.Change{Members: next, DryRun: true})
		require.True(t, again(err), "%v", err)
		return errors.Is(err, replication.ErrNewcomer)
	})
	g.stop(lost)
	g.wipe(lost)
	g.start(lost)
	g.mustCommit(21, 25)
	require.Equal(t, "transitioning", g.replicas[lost].Status().Protocol)
	g.becomes(next...)
	g.eventually("it is a member again", func() bool { return g.replicas[lost].Status().Protocol == "normal" })
	require.Equal(t, next, g.changes(lost).Membership().Members)
	primary, _ = g.primary()
	for _, i := range without([]int{0, 1, 2}, lost) {
		if i != primary {
			g.stop(i) // so that it is needed
			g.mustCommit(26, 35)
			g.start(i)
			break
		}
	}
	g.mustCommit(36, 40)
	g.finished(40)
	g.stop(lost)
	later := g.directories[lost]
	g.directories[lost], g.lost[lost] = earlier, 0
	g.start(lost)
	g.mustCommit(41, 45)
	g.eventually("the earlier life has left", func() bool { return g.replicas[lost].Status().Protocol == "left" })
	g.stop(lost)
	g.directories[lost], g.lost[lost] = later, 1
	g.start(lost)
	g.whole(lost)
	g.finished(45)
}

// settledBut waits until all but one are in an epoch.
func (g *group) settledBut(away int, epoch uint64) {
	g.t.Helper()
	g.eventually("the others are in the epoch", func() bool {
		for i, replica := range g.replicas {
			if i != away && replica.Status().Epoch != epoch {
				return false
			}
		}
		return true
	})
}
