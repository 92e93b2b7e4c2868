package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

func membersOf(ids ...ReplicaID) []Member {
	members := make([]Member, len(ids))
	for i, id := range ids {
		members[i].ID = id
	}
	return members
}

// heardFrom lets the primary hear a replica that is to become a member.
func heardFrom(b *bench, id ReplicaID, op OpNumber) {
	b.step(Message{Kind: KindGetCommitted, From: id, Op: op})
}

// reconfiguring2 is replica 2 as the primary of view 1, with one operation committed and a RECONFIGURATION behind it.
func reconfiguring2(t *testing.T, next []Member, rules ...omit.Rule) *bench {
	b := primary2(t, rules...)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	b.act()
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	heardFrom(b, 4, 1)
	_, err = b.Reconfigure(next, false)
	require.NoError(t, err)
	b.act()
	require.Equal(t, EntryReconfiguration, b.log[1].Kind)
	return b
}

// Once the RECONFIGURATION is in its log the primary takes nothing else (VRR 7.1).
func TestNothingFollowsAReconfiguration(t *testing.T) {
	for _, c := range []struct {
		rules   []omit.Rule
		refused bool
	}{{nil, true}, {[]omit.Rule{RuleReconfigurationIsLast}, false}} {
		b := reconfiguring2(t, membersOf(1, 2), c.rules...)
		_, err := b.Propose(1, [][]byte{[]byte("b")})
		require.Equal(t, c.refused, err != nil)
		if c.refused {
			require.ErrorIs(t, err, ErrNotPrimary)
			view, primary := b.Redirect()
			require.Equal(t, ViewNumber(1), view)
			require.Zero(t, primary, "nobody takes operations at this moment")
			require.NoError(t, b.ReadBarrier(1, 5), "reads go on")
		}
	}
}

// A later view that inherited a RECONFIGURATION takes nothing behind it either: its first commit ends the epoch.
func TestAnInheritedReconfigurationEndsTheEpoch(t *testing.T) {
	next := Membership{Epoch: 1, Members: membersOf(1, 2), Previous: []ReplicaID{1, 2, 3}, LargestID: 3}
	log := entries("a", 1)
	e := Entry{Op: 2, View: 1, Kind: EntryReconfiguration, Payload: next.payload()}
	e.Hash = chain(log[0].Hash, e.Op, e.View, e.Kind, e.Payload)
	log = append(log, e)
	b := newBench(t, 1, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: log})
	b.step(Message{Kind: KindStartViewChange, From: 2, View: 3})
	b.step(Message{Kind: KindDoViewChange, From: 2, View: 3, LastNormalView: 1, Op: 1, Hash: log[0].Hash, First: 2, PreviousHash: log[0].Hash})
	require.Equal(t, StatusNormal, b.Status().Status)
	require.Equal(t, OpNumber(2), b.Status().Op)
	b.step(Message{Kind: KindPrepareOK, From: 2, View: 3, Op: 2})
	status := b.Status()
	require.Equal(t, EpochNumber(1), status.Epoch)
	require.Equal(t, ViewNumber(2), status.View, "the first view of an epoch is one above that of its RECONFIGURATION")
	require.False(t, b.leads, "view 3 of epoch 0 never led: everything it inherited is committed by its end")
	require.Len(t, b.committed, 2)
}

func TestOneReconfigurationAtATime(t *testing.T) {
	b := reconfiguring2(t, membersOf(1, 2))
	_, err := b.Reconfigure(membersOf(1, 3), false)
	require.ErrorIs(t, err, ErrReconfiguring)
	require.ErrorIs(t, b.HandOver(1), ErrReconfiguring)
	b = reconfiguring2(t, membersOf(1, 2), RuleOneReconfiguration)
	_, err = b.Reconfigure(membersOf(1, 2, 3, 4), false)
	require.NoError(t, err)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 3})
	require.ErrorContains(t, b.Failure(), "ends at op-number")
}

// An epoch begins when f+1 of the old group have its RECONFIGURATION, and not before.
func TestAnEpochBeginsWhenTheOldGroupHasCommittedIt(t *testing.T) {
	b := reconfiguring2(t, membersOf(2, 3, 4))
	require.Zero(t, b.Status().Epoch)
	sent := b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.Equal(t, EpochNumber(1), b.Status().Epoch)
	require.Equal(t, []ReplicaID{2, 3, 4}, b.Status().Members)
	told := of(sent, KindCommit)[0]
	require.Equal(t, Message{Kind: KindCommit, From: 2, To: 1, View: 1, Op: 2, Commit: 2}, told, "the old group hears of it in its own epoch")
	broken := reconfiguring2(t, membersOf(2, 3, 4), RuleEpochIsCommitted)
	require.Equal(t, EpochNumber(1), broken.Status().Epoch)
}

func TestNewcomersAreReadyFirst(t *testing.T) {
	b := primary2(t)
	_, err := b.Reconfigure(membersOf(1, 2, 3, 4), false)
	require.ErrorIs(t, err, ErrNewcomer, "it was never heard")
	heardFrom(b, 4, 0)
	_, err = b.Propose(1, [][]byte{[]byte("a"), []byte("b")})
	require.NoError(t, err)
	b.act()
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	meta, _ := b.MetaAt(2)
	b.CheckpointCreated(meta)
	b.act()
	report, err := b.Reconfigure(membersOf(1, 2, 3, 4), true)
	require.ErrorIs(t, err, ErrNewcomer, "it lacks the newest checkpoint")
	require.Equal(t, MemberReport{ID: 4, Will: true, Heard: true}, report[3])
	require.Equal(t, MemberReport{ID: 1, Was: true, Will: true, Heard: true, Op: 2, Ready: true}, report[0])
	require.Equal(t, MemberReport{ID: 3, Was: true, Will: true}, report[2])
	heardFrom(b, 4, 2)
	_, err = b.Reconfigure(membersOf(1, 2, 3, 4), true)
	require.NoError(t, err)
	require.Equal(t, OpNumber(2), b.Status().Op, "a dry run proposes nothing")
	b.ticks(30)
	require.Equal(t, 30, b.learners[0].quiet)
	b.step(Message{Kind: KindCommitOK, From: 1, View: 1, Op: 2})
	_, err = b.Reconfigure(membersOf(1, 2, 4), false)
	require.ErrorIs(t, err, ErrNotPrimary, "nobody was heard for so long")

	broken := primary2(t, RuleNewcomersReady)
	_, err = broken.Reconfigure(membersOf(1, 2, 3, 4), false)
	require.NotErrorIs(t, err, ErrNewcomer)
}

func TestTheNextEpochHasAQuorum(t *testing.T) {
	b := primary2(t) // replica 3 is not in the view
	_, err := b.Reconfigure(membersOf(2, 3), false)
	require.ErrorIs(t, err, ErrQuorum)
	_, err = b.Reconfigure(membersOf(3), false)
	require.ErrorIs(t, err, ErrQuorum)
	_, err = b.Reconfigure(membersOf(1, 2), true)
	require.NoError(t, err)
	broken := primary2(t, RuleNextQuorum)
	_, err = broken.Reconfigure(membersOf(2, 3), false)
	require.NoError(t, err)
}

func TestSenselessMembersAreRefused(t *testing.T) {
	b := primary2(t)
	heardFrom(b, 4, 0)
	for _, members := range [][]Member{
		nil,
		membersOf(0),
		membersOf(2, 1),
		membersOf(1, 1),
		membersOf(1, 2, 3),
		{{ID: 1, Address: string(make([]byte, 256))}},
		make([]Member, MembersMax+1),
		{{ID: 1, Incarnation: incarnationMax + 1}, {ID: 2}},
		{{ID: 1, Witness: true}, {ID: 2, Witness: true}},
	} {
		_, err := b.Reconfigure(members, false)
		require.ErrorIs(t, err, ErrMembership, "%v", members)
	}
	moved := membersOf(1, 2, 3)
	moved[0].Address = "elsewhere"
	_, err := b.Reconfigure(moved, true)
	require.NoError(t, err, "another address is a change")
	_, err = backup1(t, nil).Reconfigure(membersOf(1, 2), false)
	require.ErrorIs(t, err, ErrNotPrimary)
}

// An id that was a member's is never another's: what its first owner said could count for the other.
func TestNoIDIsUsedTwice(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := reconfiguring2(t, membersOf(1, 2, 4))
		if broken {
			b = reconfiguring2(t, membersOf(1, 2, 4), RuleIDsAreNew)
		}
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
		require.Equal(t, EpochNumber(1), b.Status().Epoch)
		b.step(Message{Kind: KindStartViewChange, Epoch: 1, From: 1, View: 4})
		b.step(Message{Kind: KindDoViewChange, Epoch: 1, From: 1, View: 4, LastNormalView: 2, Op: 2, Commit: 2, Hash: hashOf(b.log, 2), First: 3, PreviousHash: hashOf(b.log, 2)})
		b.step(Message{Kind: KindPrepareOK, Epoch: 1, From: 1, View: 4, Op: 2})
		require.True(t, b.leads)
		_, err := b.Reconfigure(membersOf(1, 2, 3), true)
		if broken {
			require.NotErrorIs(t, err, ErrMembership)
		} else {
			require.ErrorIs(t, err, ErrMembership)
		}
	}
}

// Who proposed is told that it is done, or that it certainly never happens, or that it cannot be known here.
func TestOutcomesOfAReconfiguration(t *testing.T) {
	outcome := func(b *bench) *Reconfiguration {
		if !b.HasReady() {
			return nil
		}
		ready := b.Ready()
		b.persist(&ready)
		b.committed = append(b.committed, ready.Committed...)
		b.Advance()
		return ready.Reconfiguration
	}
	done := reconfiguring2(t, membersOf(1, 2))
	require.NoError(t, done.Step(Message{Kind: KindPrepareOK, From: 1, To: 2, View: 1, Op: 2}))
	require.Equal(t, &Reconfiguration{Outcome: ReconfigurationDone, Epoch: 1}, outcome(done))

	overtaken := reconfiguring2(t, membersOf(1, 2))
	other := append(entries("a", 1)[:0:0], overtaken.log[0], Chained(overtaken.log[0].Hash, 2, 2, []byte("other")))
	start := suffix(KindStartView, 3, 2, other, 2)
	start.To, start.Commit = 2, 2
	require.NoError(t, overtaken.Step(start))
	require.Equal(t, &Reconfiguration{Outcome: ReconfigurationOvertaken, Epoch: 1}, outcome(overtaken))

	unknown := reconfiguring2(t, membersOf(1, 2))
	unknown.fail("something")
	require.Equal(t, &Reconfiguration{Outcome: ReconfigurationUnknown, Epoch: 1}, outcome(unknown))
}
