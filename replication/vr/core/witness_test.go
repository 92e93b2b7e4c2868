package core

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// witnessed are members 1, 2 and 3, the last of them a witness.
func witnessed() []Member {
	members := membersOf(1, 2, 3)
	members[2].Witness = true
	return members
}

// witness3 is replica 3 as the witness of a group of three.
func witness3(t *testing.T, restored Restored, rules ...omit.Rule) *bench {
	b := newBench(t, 1, Restored{}, rules...)
	b.config.Self, b.config.Witness, b.config.FirstWitness = 3, true, 3
	b.hard, b.log = restored.HardState, restored.Entries
	b.restart(restored)
	return b
}

// beside2 is replica 2 as the leading primary of view 1 beside the active replica 1 and witness 3.
func beside2(t *testing.T, rules ...omit.Rule) *bench {
	b := newBench(t, 2, Restored{}, rules...)
	b.config.FirstWitness = 3
	b.restart(Restored{})
	b.step(Message{Kind: KindStartViewChange, From: 1, View: 1})
	b.step(Message{Kind: KindDoViewChange, From: 1, View: 1, First: 1})
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1})
	b.step(Message{Kind: KindPrepareOK, From: 3, View: 1})
	require.True(t, b.leads)
	return b
}

// aboveTwo is replica 2 with a checkpoint at 6, and the log above 2, as far as the other active member has told one.
func aboveTwo(t *testing.T, rules ...omit.Rule) *bench {
	b := beside2(t, rules...)
	b.commits(6)
	b.checkpoint(2)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 6, Kept: 2})
	b.ticks(5)
	b.checkpoint(4)
	b.checkpoint(6)
	require.Equal(t, OpNumber(3), b.Status().FirstRetained)
	return b
}

func (b *bench) commits(count int) {
	b.Helper()
	for range count {
		_, err := b.Propose(1, [][]byte{[]byte("a")})
		require.NoError(b, err)
		b.act()
		b.step(Message{Kind: KindPrepareOK, From: 3, View: 1, Op: b.Status().Op})
	}
}

// checkpoint has the replica make a checkpoint.
func (b *bench) checkpoint(op OpNumber) {
	b.Helper()
	meta, ok := b.MetaAt(op)
	require.True(b, ok)
	b.CheckpointCreated(meta)
	b.act()
}

// The primary of each view is an active member, a handover goes to none else, and a witness applies nothing.
func TestAWitnessNeverLeads(t *testing.T) {
	b := witness3(t, Restored{})
	for view := ViewNumber(1); view < 10; view++ {
		require.Equal(t, ReplicaID(1+view%2), b.primaryOf(view))
	}
	log := entries("a", 1, 1)
	b.step(suffix(KindStartView, 2, 1, log, 1))
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 2, Commit: 2})
	require.Equal(t, OpNumber(2), b.Status().Commit)
	require.Empty(t, b.committed)
	require.ErrorIs(t, b.ReadStale(1, 0), ErrWitness)
	primary := beside2(t)
	require.ErrorIs(t, primary.HandOver(3), ErrNoMember)

	broken := witness3(t, Restored{}, RuleWitnessNeverLeads)
	require.Equal(t, ReplicaID(3), broken.primaryOf(2))
}

// A witness keeps what is above the least checkpoint that all active members have told, of which the primary tells.
func TestAWitnessKeepsWhatIsAboveTheFloor(t *testing.T) {
	b := beside2(t)
	b.commits(6)
	b.checkpoint(4)
	require.Zero(t, of(b.ticks(5), KindCommit)[0].Kept, "replica 1 has told nothing")
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 6, Kept: 3})
	require.Equal(t, OpNumber(3), of(b.ticks(5), KindCommit)[0].Kept)

	log := entries("a", 1, 1, 1, 1, 1, 1)
	for _, broken := range []bool{false, true} {
		w := witness3(t, Restored{})
		if broken {
			w = witness3(t, Restored{}, RuleWitnessKeeps)
		}
		w.step(suffix(KindStartView, 2, 1, log, 1))
		sent := w.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 6, Commit: 6, Kept: 3})
		require.Zero(t, of(sent, KindCommitOK)[0].Kept, "it has no checkpoint to tell")
		meta, ok := w.WitnessBase()
		require.True(t, ok)
		require.Equal(t, !broken, meta.Op == 3)
		w.CheckpointCreated(meta)
		_, ok = w.WitnessBase()
		require.False(t, ok)
	}
}

// Active members keep their logs for a witness that may have to have them again.
func TestActiveMembersKeepTheirLogsForAWitness(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := beside2(t)
		if broken {
			b = beside2(t, RuleActivesKeep)
		}
		b.commits(6)
		b.checkpoint(2)
		b.checkpoint(4)
		b.checkpoint(6)
		require.Equal(t, !broken, b.Status().FirstRetained == 1)
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 6, Kept: 6})
		b.ticks(5)
		b.commits(1)
		b.checkpoint(7)
		require.Equal(t, OpNumber(7), b.Status().FirstRetained)
	}
}

// A witness that lost what it acknowledged goes on from where this log begins, and one that lost nothing from the newest
// checkpoint.
func TestAWitnessThatLostSomethingNeedsIt(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := aboveTwo(t)
		if broken {
			b = aboveTwo(t, RuleWitnessBase)
		}
		ask := Message{Kind: KindGetState, From: 3, View: 1, First: 1, Nonce: 7}
		require.Equal(t, OpNumber(6), of(b.step(ask), KindNewState)[0].Checkpoint.Op)
		ask.Agree = true
		given := of(b.step(ask), KindNewState)[0].Checkpoint
		if broken {
			require.Equal(t, OpNumber(6), given.Op)
			continue
		}
		require.Equal(t, CheckpointMeta{Op: 2, View: 1, Hash: hashOf(b.log, 2)}, given)
		ask.From = 1
		require.Equal(t, OpNumber(6), of(b.step(ask), KindNewState)[0].Checkpoint.Op, "an active member gets a state")
	}
	w := witness3(t, Restored{Checkpoint: CheckpointMeta{Op: 4, View: 1, Hash: 9}, HardState: HardState{View: 1, LastNormalView: 1, Commit: 4}})
	answer := of(w.step(Message{Kind: KindGetState, From: 1, View: 1, First: 1, Nonce: 7}), KindNewState)[0]
	require.Zero(t, answer.Checkpoint, "a witness has none to give")
	require.Equal(t, OpNumber(5), answer.First)
	require.Empty(t, of(w.step(Message{Kind: KindGetCommitted, From: 4, First: 1, Nonce: 7}), KindNewCommitted))
}

// After a restart the epoch of the place where a log begins may not be known, in a later epoch than the second: a witness that
// lost something is not kept waiting for the next checkpoint, which an idle group never makes. It goes on from one that all
// active members have.
func TestAWitnessThatLostSomethingNeedsNoTrafficInALaterEpoch(t *testing.T) {
	log := chainOf(8, 2)
	m := Membership{Epoch: 2, Op: 5, View: 3, Hash: log[4].Hash, Members: witnessed(), Previous: []ReplicaID{1, 2, 3}, LargestID: 3}
	newest := CheckpointMeta{Op: 6, View: 2, Hash: log[5].Hash, Membership: m.Encode()}
	b := newBench(t, 1, Restored{})
	b.config.FirstWitness = 3
	b.restart(Restored{
		HardState: HardState{View: 3, LastNormalView: 3, Commit: 8, Membership: m.Encode()}, Checkpoint: newest, Entries: log[2:],
	})
	ask := Message{Kind: KindGetState, From: 3, Epoch: 2, View: 3, First: 1, Nonce: 7, Agree: true}
	require.Empty(t, of(b.step(ask), KindNewState), "whether the other one has that checkpoint is not known yet")
	b.step(Message{Kind: KindCommit, From: 2, Epoch: 2, View: 3, Op: 8, Commit: 8, Kept: 5, Round: 1})
	require.Empty(t, of(b.step(ask), KindNewState), "it has an earlier one, and answers itself")
	b.step(Message{Kind: KindCommit, From: 2, Epoch: 2, View: 3, Op: 8, Commit: 8, Kept: 6, Round: 2})
	require.Equal(t, newest, of(b.step(ask), KindNewState)[0].Checkpoint)
}

// A newcomer is ready up to the checkpoint of the moment in which the change is proposed. What is above it the group may have
// committed with the witness, which keeps it until all active members of the new epoch have told a checkpoint of theirs.
func TestTheFloorStandsWhileMembersChange(t *testing.T) {
	for _, broken := range []bool{false, true} {
		rules, kept := []omit.Rule{}, OpNumber(2)
		if broken {
			rules, kept = []omit.Rule{RuleFloorStands}, 6
		}
		b := beside2(t, rules...)
		b.commits(6)
		b.checkpoint(2)
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 6, Kept: 2})
		b.ticks(5)
		b.step(Message{Kind: KindGetCommitted, From: 4, Op: 2})
		_, err := b.Reconfigure(append(witnessed(), membersOf(4)...), false)
		require.NoError(t, err)
		b.act()
		b.checkpoint(4)
		b.checkpoint(6)
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 6, Kept: 6})
		require.Equal(t, kept, of(b.ticks(5), KindCommit)[0].Kept)
		ask := Message{Kind: KindGetState, From: 3, View: 1, First: 1, Nonce: 7}
		require.Equal(t, kept, of(b.step(ask), KindNewState)[0].Checkpoint.Op, "it never had what is above")

		b.step(Message{Kind: KindPrepareOK, From: 3, View: 1, Op: 7})
		require.Equal(t, EpochNumber(1), b.Status().Epoch)
		ask = Message{Kind: KindGetCommitted, From: 3, First: 1, Nonce: 8}
		require.Equal(t, kept, of(b.step(ask), KindNewCommitted)[0].Checkpoint.Op, "it may have lost what is above")
	}
}

// Beside one active member, without which there is no quorum, a witness that lost something goes on from its checkpoint: in an
// epoch that cannot begin without the witness nobody tells another.
func TestAWitnessThatLostSomethingInAGroupOfTwo(t *testing.T) {
	log := chainOf(8, 2)
	members := witnessed()
	before := Membership{Epoch: 1, Op: 2, View: 2, Hash: log[1].Hash, Members: members, Previous: []ReplicaID{1, 2}, LargestID: 3}
	m := Membership{Epoch: 2, Op: 8, View: 3, Hash: log[7].Hash, Members: []Member{members[0], members[2]}, Previous: []ReplicaID{1, 2, 3}, LargestID: 3}
	newest := CheckpointMeta{Op: 6, View: 2, Hash: log[5].Hash, Membership: before.Encode()}
	b := newBench(t, 1, Restored{})
	b.config.FirstWitness = 3
	b.restart(Restored{
		HardState: HardState{View: 3, LastNormalView: 2, Commit: 8, Membership: m.Encode()}, Checkpoint: newest, Entries: log[3:],
	})
	ask := Message{Kind: KindGetCommitted, From: 3, Epoch: 1, First: 1, Nonce: 7}
	require.Equal(t, newest, of(b.step(ask), KindNewCommitted)[0].Checkpoint)
}

// A witness may not know to be committed what was committed with it. It keeps that where another's log begins above it, whose
// checkpoint it is offered: a third one may lack it.
func TestAWitnessKeepsWhatItHasBelowAnothersLog(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := aboveTwo(t)
		if broken {
			b = aboveTwo(t, RuleWitnessOwn)
		}
		for _, own := range [][]Entry{b.log[:5], b.log[:1], entries("of another branch", 1, 1, 1, 1, 1)} {
			w := witness3(t, Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: own})
			asked := of(w.step(Message{Kind: KindCommit, From: 2, View: 3, Op: 6, Round: 1}), KindGetState)[0]
			asked.From, asked.View = 3, 1
			answer := of(b.step(asked), KindNewState)[0]
			require.Equal(t, OpNumber(6), answer.Checkpoint.Op)
			answer.From, answer.View = 2, 3
			again := of(w.step(answer), KindGetState)
			joined := w.Status().View == 3
			require.Equal(t, !broken && len(own) == 5 && own[0].Hash == b.log[0].Hash, joined)
			if joined {
				require.Equal(t, []OpNumber{1, 6}, []OpNumber{w.Status().FirstRetained, w.Status().Op})
				require.Equal(t, b.log, w.log)
				continue
			}
			require.Len(t, again, 1, "another one is asked first")
			answer.From, answer.Nonce = 1, again[0].Nonce
			w.step(answer)
			require.True(t, w.fetching, "it goes on from the checkpoint")
		}
	}
}

// Where a log begins is where it begins after a restart: what members keep for one another is kept to the last entry.
func TestARestartKeepsWhereTheLogBegins(t *testing.T) {
	b := beside2(t)
	b.commits(6)
	begins := func(meta CheckpointMeta) OpNumber {
		after := newBench(t, 2, Restored{})
		after.config.FirstWitness = 3
		after.restart(Restored{HardState: b.hard, Checkpoint: meta, Entries: b.log[max(b.first, 1)-1:]})
		return after.Status().FirstRetained
	}
	for _, at := range []struct{ told, checkpoint, first OpNumber }{{0, 2, 1}, {2, 4, 3}, {3, 5, 4}} {
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 6, Kept: at.told})
		b.ticks(5)
		b.checkpoint(at.checkpoint)
		require.Equal(t, at.first, b.Status().FirstRetained)
		require.Equal(t, at.first, begins(b.Status().Checkpoint))
	}
}

// chainOf is a log of so many entries of a view.
func chainOf(count int, view ViewNumber) (log []Entry) {
	previous := Hash(0)
	for op := OpNumber(1); int(op) <= count; op++ {
		e := Chained(previous, op, view, []byte("a"))
		log, previous = append(log, e), e.Hash
	}
	return log
}

// The log is kept for an active member that does not get on, and bounded by what is not proposed.
func TestTheLogThatIsKeptIsBounded(t *testing.T) {
	b := beside2(t)
	b.Replica.config.RetainedBytesMax = 3
	b.commits(4)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.ErrorIs(t, err, ErrOverloaded)
	require.ErrorContains(t, err, "replica 1")
	b.checkpoint(2)
	b.checkpoint(4)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 4, Kept: 4})
	b.ticks(5)
	b.Replica.config.RetainedBytesMax = 4
	b.commits(1)
	b.checkpoint(5)
	require.Equal(t, 1, b.Replica.log.bytes)
	b.commits(3)
}

// What the old group has committed is on a quorum of the new one before anybody leaves, its witness among them.
func TestWhoLeavesWaitsForAQuorumBesideAWitness(t *testing.T) {
	b := beside2(t)
	_, err := b.Reconfigure([]Member{witnessed()[0], witnessed()[2]}, false)
	require.NoError(t, err)
	b.act()
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	for _, from := range []ReplicaID{1, 3} {
		require.Equal(t, StatusLeaving, b.Status().Status)
		b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: from})
	}
	require.Equal(t, StatusLeft, b.Status().Status)
}

// Members that leave wait for those who have a state.
func TestWhoLeavesWaitsForActiveMembers(t *testing.T) {
	for _, broken := range []bool{false, true} {
		rules := []omit.Rule{}
		if broken {
			rules = append(rules, RuleActivesBegin)
		}
		b := primary2(t, rules...)
		next := membersOf(1, 3, 4)
		next[2].Witness = true
		b.step(Message{Kind: KindPrepareOK, From: 3, View: 1})
		b.step(Message{Kind: KindGetCommitted, From: 4, Agree: true})
		_, err := b.Reconfigure(next, false)
		require.NoError(t, err)
		b.act()
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
		require.Equal(t, StatusLeaving, b.Status().Status)
		b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 1})
		b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 4})
		require.Equal(t, broken, b.Status().Status == StatusLeft)
		b.step(Message{Kind: KindEpochStarted, Epoch: 1, From: 3})
		require.Equal(t, StatusLeft, b.Status().Status)
	}
}

// A witness joins as one, beside active members that have everything below its log, of whom one is in every quorum.
func TestAWitnessJoins(t *testing.T) {
	next := append(membersOf(1, 2), Member{ID: 4, Witness: true})
	b := primary2(t)
	b.step(Message{Kind: KindGetCommitted, From: 4})
	_, err := b.Reconfigure(next, true)
	require.ErrorIs(t, err, ErrNewcomer, "it does not say that it is a witness")
	b.step(Message{Kind: KindGetCommitted, From: 4, Agree: true, Op: 5, Kept: 5})
	_, err = b.Reconfigure(next, true)
	require.ErrorIs(t, err, ErrNewcomer, "its log begins above the checkpoint of the primary")
	b.step(Message{Kind: KindGetCommitted, From: 4, Agree: true})
	_, err = b.Reconfigure(next, true)
	require.NoError(t, err)
	_, err = b.Reconfigure(membersOf(1, 2, 4), true)
	require.ErrorIs(t, err, ErrNewcomer, "it has no state")
	for _, c := range []struct {
		rules  []omit.Rule
		refuse bool
	}{{nil, true}, {[]omit.Rule{RuleActivesReady}, false}} {
		b := primary2(t, c.rules...)
		b.step(Message{Kind: KindGetCommitted, From: 4, Agree: true})
		away := append(membersOf(2, 3), Member{ID: 4, Witness: true}) // replica 3 is not in the view
		_, err = b.Reconfigure(away, true)
		require.Equal(t, c.refuse, err != nil, "%v", err)
	}
	alone := newBench(t, 1, Restored{})
	alone.config.Members = []ReplicaID{1}
	alone.restart(Restored{})
	alone.act()
	alone.step(Message{Kind: KindGetCommitted, From: 2, Agree: true})
	alone.step(Message{Kind: KindGetCommitted, From: 3})
	grown := membersOf(1, 2, 3)
	grown[1].Witness = true
	_, err = alone.Reconfigure(grown, true)
	require.ErrorIs(t, err, ErrQuorum, "only one has a state, and the witness may begin above what the other learns")
	_, err = alone.Reconfigure(membersOf(1, 3), true)
	require.NoError(t, err)
	two := append(membersOf(1, 2), Member{ID: 4, Witness: true}, Member{ID: 5, Witness: true})
	_, err = b.Reconfigure(two, true)
	require.ErrorIs(t, err, ErrMembership)
}

// A witness's entries bring a new primary up to what only it has kept.
func TestANewPrimaryTakesTheLogOfAWitness(t *testing.T) {
	log := entries("a", 1, 1, 1)
	w := witness3(t, Restored{})
	w.step(suffix(KindStartView, 2, 1, log, 1))
	w.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 3, Commit: 3})
	sent := w.step(Message{Kind: KindStartViewChange, From: 1, View: 2})
	told := of(sent, KindDoViewChange)[0]
	require.Equal(t, ReplicaID(1), told.To)
	require.Equal(t, OpNumber(3), told.Op)
	b := newBench(t, 1, Restored{})
	b.config.FirstWitness = 3
	b.restart(Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: log[:1]})
	b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
	sent = b.step(told)
	ask := of(sent, KindGetState)[0]
	require.Equal(t, ReplicaID(3), ask.To)
	ask.From = 1
	b.step(of(w.step(ask), KindNewState)[0])
	b.step(Message{Kind: KindPrepareOK, From: 3, View: 2, Op: 3})
	require.True(t, b.leads)
	require.Len(t, b.committed, 3)
}

// A witness that was away began with the checkpoint of another active member. What is below a new primary has in its own
// log, above its commit-number: both logs have the same hash where the witness's begins.
func TestANewPrimaryAddsItsOwnToTheLogOfAWitness(t *testing.T) {
	log, dead := entries("a", 1, 1, 1, 1), entries("dead", 1, 1)
	for _, own := range [][]Entry{log[:2], dead, log[:1]} {
		b := newBench(t, 1, Restored{})
		b.config.FirstWitness = 3
		b.log = slices.Clone(own)
		b.restart(Restored{HardState: HardState{View: 1, LastNormalView: 1}, Entries: own})
		b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
		told := suffix(KindDoViewChange, 3, 2, log, 4)
		told.LastNormalView, told.Commit = 1, 3
		ask := of(b.step(told), KindGetState)[0]
		require.Equal(t, OpNumber(1), ask.First)
		w := witness3(t, Restored{
			Checkpoint: CheckpointMeta{Op: 2, View: 1, Hash: hashOf(log, 2)}, HardState: HardState{View: 2, LastNormalView: 1, Commit: 3}, Entries: log[2:],
		})
		ask.From = 1
		sent := b.step(of(w.step(ask), KindNewState)[0])
		if same := hashOf(own, OpNumber(len(own))) == hashOf(log, OpNumber(len(own))) && len(own) >= 2; same {
			require.Len(t, of(sent, KindStartView), 2)
			require.Equal(t, log, b.log)
		} else {
			require.Empty(t, of(sent, KindStartView))
			require.Equal(t, own, b.log)
		}
	}
}

// What a replica is made as has to be what its group says of it.
func TestAWitnessIsWhatItsGroupSays(t *testing.T) {
	members := Membership{Members: witnessed(), LargestID: 3}
	config := Config{Self: 3, Members: []ReplicaID{1, 2, 3}, Rand: func() uint64 { return 1 }}
	_, err := New(config, Restored{HardState: HardState{Membership: members.Encode()}})
	require.ErrorIs(t, err, ErrConfig)
	config.FirstWitness = 3
	_, err = New(config, Restored{})
	require.ErrorIs(t, err, ErrConfig)
	config.Witness = true
	_, err = New(config, Restored{HardState: HardState{Membership: members.Encode()}})
	require.NoError(t, err)
}

// A witness that learns is given the newest checkpoint's place, though it is a member by now of an epoch that it has not
// heard of; one that is behind with what it promised, the place where this log begins.
func TestAWitnessThatHasPromisedNothingMayBeginAnywhere(t *testing.T) {
	next := append(membersOf(1, 2), Member{ID: 4, Witness: true})
	log, m := epochLog(next, []ReplicaID{1, 2, 3}, 5)
	base := CheckpointMeta{Op: 2, View: 1, Hash: hashOf(log, 2)}
	b := newBench(t, 1, Restored{
		HardState: HardState{View: 2, LastNormalView: 2, Commit: 6, Membership: m.Encode()}, Checkpoint: base, Entries: log[2:],
	})
	b.act()
	b.checkpoint(6)
	ask := Message{Kind: KindGetCommitted, From: 4, First: 1, Nonce: 7, Agree: true}
	require.Equal(t, OpNumber(6), of(b.step(ask), KindNewCommitted)[0].Checkpoint.Op)
	ask.Agree = false
	require.Equal(t, base, of(b.step(ask), KindNewCommitted)[0].Checkpoint)
}
