package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// askedState makes the answer of a member to the GETSTATE that is open.
func askedState(t *testing.T, sent []Outgoing, log []Entry) Message {
	t.Helper()
	asked := of(sent, KindGetState)
	require.NotEmpty(t, asked)
	answer := suffix(KindNewState, asked[0].To, asked[0].View, log, asked[0].First)
	answer.Nonce = asked[0].Nonce
	return answer
}

// Schedule "state transfer truncates first": the paper (VRR 5.2) cuts the log to the commit-number before it
// asks. What is cut may have been acknowledged.
func TestStateTransferRemovesNothingFirst(t *testing.T) {
	old := entries("a", 1, 1, 1)
	later := suffix(KindPrepare, 3, 2, entries("a", 1, 1, 1, 2, 2), 5)
	b := backup1(t, old)
	asked := of(b.step(later), KindGetState)
	require.Equal(t, ViewNumber(2), asked[0].View)
	require.Equal(t, OpNumber(1), asked[0].First)
	require.Equal(t, OpNumber(3), b.Status().Op)
	require.Equal(t, ViewNumber(1), b.Status().LastNormalView)

	broken := backup1(t, old, RuleKeepBeforeTransfer)
	broken.step(later)
	require.Equal(t, OpNumber(0), broken.Status().Op)
}

// The suffix is replaced in one durable step, when all of it is here.
func TestStateTransferIsOneStep(t *testing.T) {
	whole := entries("b", 2, 2, 2, 2)
	b := backup1(t, entries("a", 1, 1))
	first := askedState(t, b.step(suffix(KindPrepare, 3, 2, whole, 4)), whole)
	part := first
	part.Entries = first.Entries[:2]
	sent := b.step(part)
	require.Empty(t, of(sent, KindPrepareOK))
	require.Equal(t, OpNumber(2), b.Status().Op)
	require.Equal(t, ViewNumber(1), b.hard.View)
	sent = b.step(askedState(t, sent, whole))
	require.Equal(t, OpNumber(4), of(sent, KindPrepareOK)[0].Op)
	require.Equal(t, ViewNumber(2), b.hard.LastNormalView)
	require.Equal(t, whole, b.log)

	broken := backup1(t, entries("a", 1, 1), RuleWholeInherited)
	first = askedState(t, broken.step(suffix(KindPrepare, 3, 2, whole, 4)), whole)
	first.Entries = first.Entries[:1]
	broken.step(first)
	require.Equal(t, ViewNumber(2), broken.Status().LastNormalView, "normal with a part of what the view inherited")
}

// An answer that takes longer than a question waits at first comes in time for a later one: each waits longer.
func TestASlowAnswerIsTaken(t *testing.T) {
	whole := entries("b", 2, 2, 2)
	b := backup1(t, entries("a", 1))
	asked := b.step(suffix(KindPrepare, 3, 2, whole, 3))
	const late = 35 // ticks that an answer takes; the first questions wait 10 and 20
	due := map[int]Message{late: askedState(t, asked, whole)}
	questions := 1
	for tick := 1; b.Status().View != 2 || b.Status().Status != StatusNormal; tick++ {
		require.Less(t, tick, 200, "every answer is too late")
		if sent := b.ticks(1); len(of(sent, KindGetState)) > 0 {
			questions++
			due[tick+late] = askedState(t, sent, whole)
		}
		if answer, arrives := due[tick]; arrives {
			b.step(answer)
		}
	}
	require.Equal(t, whole, b.log)
	require.LessOrEqual(t, questions, 5, "they do not fill the link")
}

// A commit-number of a later view says nothing about the log of this one.
func TestCommitOfALaterViewIsNotThisLogs(t *testing.T) {
	b := backup1(t, entries("dead", 1, 1))
	later := suffix(KindPrepare, 3, 2, entries("live", 2, 2, 2), 3)
	later.Commit = 2
	b.step(later)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 2})
	require.Empty(t, b.committed)
}

// NEWSTATE is taken only as the answer to the question that is open.
func TestNewStateIsTakenOnlyWhenAsked(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := backup1(t, entries("a", 1))
		if broken {
			b = backup1(t, entries("a", 1), RuleNewStateAsked)
		}
		b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
		late := suffix(KindNewState, 2, 1, entries("a", 1, 1), 2)
		late.Nonce = 99
		b.step(late)
		require.Equal(t, broken, b.Status().View == 1, "it has promised view 2")
	}
}

// A PREPARE of a later view is not appended to a log of this one.
func TestPrepareOfALaterViewIsNotAppended(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := backup1(t, entries("dead", 1))
		if broken {
			b = backup1(t, entries("dead", 1), RulePrepareView)
		}
		sent := b.step(suffix(KindPrepare, 3, 2, entries("live", 2, 2), 2))
		require.Equal(t, broken, len(of(sent, KindPrepareOK)) > 0)
	}
}

// A new primary that lacks a part of the chosen log fetches it before the view starts.
func TestNewPrimaryGathersWhatItLacks(t *testing.T) {
	whole := entries("a", 1, 1, 1, 1)
	b := newBench(t, 2, Restored{})
	b.step(Message{Kind: KindStartViewChange, From: 1, View: 4})
	m := suffix(KindDoViewChange, 1, 4, whole, 4)
	m.LastNormalView, m.Commit = 1, 3
	sent := b.step(m)
	require.Empty(t, of(sent, KindStartView))
	sent = b.step(askedState(t, sent, whole))
	require.Len(t, of(sent, KindStartView), 2)
	require.Equal(t, whole, b.log)
	require.Len(t, b.committed, 3)
}

// What is below the sender's log comes as a checkpoint; the log starts anew above it.
func TestCheckpointInPlaceOfEntries(t *testing.T) {
	whole := entries("a", 1, 1, 1, 1)
	meta := CheckpointMeta{Op: 3, View: 1, Hash: hashOf(whole, 3)}
	b := backup1(t, nil)
	asked := of(b.step(suffix(KindPrepare, 2, 1, whole, 4)), KindGetState)[0]
	require.NoError(t, b.Step(Message{
		Kind: KindNewState, From: 2, To: 1, View: 1, Op: 4, Nonce: asked.Nonce, First: 1, Commit: 3, Checkpoint: meta,
	}))
	asked = of(b.act(), KindGetState)[0]
	require.Equal(t, ReplicaID(3), asked.To, "the primary has the group's work to do")
	require.NoError(t, b.Step(Message{
		Kind: KindNewState, From: 3, To: 1, View: 1, Op: 4, Nonce: asked.Nonce, First: 1, Commit: 3, Checkpoint: meta,
	}))
	ready := b.Ready()
	require.Equal(t, &FetchCheckpoint{From: 3, Meta: meta}, ready.FetchCheckpoint)
	b.Advance()
	b.CheckpointInstalled(meta)
	require.NoError(t, b.Failure())
	ready = b.Ready()
	require.Equal(t, OpNumber(4), ready.TruncateBelow)
	require.Equal(t, OpNumber(4), of(ready.Messages, KindGetState)[0].First)
	b.Advance()
	require.Equal(t, OpNumber(3), b.Status().Applied)
}

// The primary's checkpoint is fetched when no other member answers, and at once when it was so before in this view.
func TestThePrimarysCheckpointIsTheLastResort(t *testing.T) {
	whole := entries("a", 1, 1, 1, 1)
	meta := CheckpointMeta{Op: 3, View: 1, Hash: hashOf(whole, 3)}
	b := backup1(t, nil)
	sent := of(b.step(suffix(KindPrepare, 2, 1, whole, 4)), KindGetState)
	answer := func() *FetchCheckpoint {
		asked := sent[len(sent)-1]
		require.Equal(t, ReplicaID(2), asked.To)
		require.NoError(t, b.Step(Message{
			Kind: KindNewState, From: 2, To: 1, View: 1, Op: 4, Nonce: asked.Nonce, First: 1, Commit: 3, Checkpoint: meta,
		}))
		ready := b.Ready()
		sent = of(ready.Messages, KindGetState)
		b.Advance()
		return ready.FetchCheckpoint
	}
	silence := func() {
		for sent = nil; len(sent) == 0; {
			b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 4})
			b.Tick()
			sent = of(b.act(), KindGetState)
		}
	}
	require.Nil(t, answer())
	require.Equal(t, ReplicaID(3), sent[0].To)
	silence()
	require.Equal(t, &FetchCheckpoint{From: 2, Meta: meta}, answer())
	b.CheckpointFailed()
	silence()
	require.Equal(t, ReplicaID(3), sent[0].To)
	silence()
	require.Equal(t, &FetchCheckpoint{From: 2, Meta: meta}, answer())
}

// The primary gives no more than one answer where another member can give the rest; where none can, it gives all.
func TestABackupGivesWhatThePrimaryNeedNot(t *testing.T) {
	whole := entries("a", 1, 1, 1, 1, 1)
	for _, answers := range []bool{true, false} {
		b := backup1(t, nil)
		sent := b.step(suffix(KindPrepare, 2, 1, whole, 5))
		for _, from := range []ReplicaID{2, 3} {
			require.Equal(t, from, of(sent, KindGetState)[0].To)
			if from == 3 && !answers {
				break
			}
			part := askedState(t, sent, whole)
			part.Entries = part.Entries[:2]
			sent = b.step(part)
		}
		for ticks := 0; !answers && of(sent, KindGetState)[0].To != 2; ticks++ {
			require.Less(t, ticks, 100)
			b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 5})
			if again := b.ticks(1); len(of(again, KindGetState)) > 0 {
				sent = again
			}
		}
		for len(of(sent, KindGetState)) > 0 {
			require.Equal(t, answers, of(sent, KindGetState)[0].To == 3)
			part := askedState(t, sent, whole)
			part.Entries = part.Entries[:1]
			sent = b.step(part)
		}
		require.Equal(t, whole, b.log)
	}
}

// Two that lack the same would ask each other for ever.
func TestWhoLacksTheSameIsPassedOver(t *testing.T) {
	whole := entries("a", 1, 1, 1, 1, 1)
	b := backup1(t, nil)
	sent := b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 5, Commit: 5})
	for _, answer := range []struct {
		from ReplicaID
		has  int
	}{{2, 2}, {3, 2}, {2, 3}, {2, 4}, {2, 5}} {
		require.Equal(t, answer.from, of(sent, KindGetState)[0].To)
		part := askedState(t, sent, whole[:answer.has])
		if answer.from == 2 {
			part.Op = 5
		}
		sent = b.step(part)
	}
	require.Equal(t, whole, b.log)
}

// The log is kept one checkpoint behind.
func TestLogIsTruncatedOneCheckpointBehind(t *testing.T) {
	log := entries("a", 1, 1, 1, 1)
	b := backup1(t, log)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 4, Commit: 4})
	for _, op := range []OpNumber{2, 3} {
		meta, ok := b.MetaAt(op)
		require.True(t, ok)
		b.CheckpointCreated(meta)
		b.act()
	}
	require.Equal(t, OpNumber(3), b.Status().FirstRetained)
	answer := of(b.step(Message{Kind: KindGetState, From: 3, View: 1, First: 1, Nonce: 4}), KindNewState)[0]
	require.Equal(t, OpNumber(3), answer.Checkpoint.Op)
	require.Empty(t, answer.Entries)
	answer = of(b.step(Message{Kind: KindGetState, From: 3, View: 1, First: 3, Nonce: 4}), KindNewState)[0]
	require.Len(t, answer.Entries, 2)
}

// The log above a checkpoint that another replica fetches is kept, whatever checkpoints follow.
func TestLogIsRetainedForATransfer(t *testing.T) {
	log := entries("a", 1, 1, 1, 1, 1, 1)
	b := backup1(t, log)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 6, Commit: 6})
	for _, step := range []struct{ retain, checkpoint, first OpNumber }{
		{0, 2, 1}, {2, 3, 3}, {2, 4, 3}, {2, 5, 3}, {0, 6, 6},
	} {
		b.RetainAbove(step.retain)
		meta, ok := b.MetaAt(step.checkpoint)
		require.True(t, ok)
		b.CheckpointCreated(meta)
		b.act()
		require.Equal(t, step.first, b.Status().FirstRetained, "checkpoint %d", step.checkpoint)
	}
	require.NoError(t, b.Failure())
	meta, ok := b.MetaAt(5)
	require.True(t, ok)
	require.Equal(t, ViewNumber(1), meta.View)
}

// After a checkpoint the member that it came from is asked for what follows.
func TestTransferGoesOnWhereTheCheckpointCameFrom(t *testing.T) {
	whole := entries("a", 1, 1, 1, 1)
	meta := CheckpointMeta{Op: 3, View: 1, Hash: hashOf(whole, 3)}
	b := backup1(t, nil)
	b.step(suffix(KindPrepare, 2, 1, whole, 4))
	for _, from := range []ReplicaID{99, 3} {
		b.GoOnFrom(from)
	}
	b.CheckpointInstalled(meta)
	asked := of(b.act(), KindGetState)
	require.Equal(t, ReplicaID(3), asked[0].To)
	require.Equal(t, OpNumber(4), asked[0].First)
}

// A change at or below one's own commit-number stops the replica.
func TestCommittedIsNeverReplaced(t *testing.T) {
	b := backup1(t, entries("a", 1, 1))
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 2, Commit: 2})
	other := entries("b", 2, 2, 2)
	require.NoError(t, b.Step(withTo(suffix(KindStartView, 3, 2, other, 1), 1)))
	require.ErrorContains(t, b.Failure(), "committed")
	require.ErrorIs(t, b.Step(Message{Kind: KindCommit, From: 3, To: 1, View: 2}), ErrStopped)
}

func TestRestoredMustMakeSense(t *testing.T) {
	config := Config{Self: 1, Members: []ReplicaID{1, 2, 3}, Rand: func() uint64 { return 1 }}
	log := entries("a", 1, 1, 1)
	normal := HardState{View: 1, LastNormalView: 1}
	for _, restored := range []Restored{
		{HardState: normal, Entries: []Entry{log[0], log[2]}},
		{HardState: normal, Entries: log[1:]},
		{HardState: HardState{View: 1, LastNormalView: 2}},
		{HardState: HardState{View: 2}, Entries: log},
		{HardState: HardState{View: 1, LastNormalView: 1, Commit: 2}, Checkpoint: CheckpointMeta{Op: 2, View: 1, Hash: 7}, Entries: log},
	} {
		_, err := New(config, restored)
		require.ErrorIs(t, err, ErrRestored)
	}
	// A checkpoint from elsewhere overtook the log just before the restart.
	replica, err := New(config, Restored{HardState: HardState{View: 3, LastNormalView: 3}, Checkpoint: CheckpointMeta{Op: 9, View: 2, Hash: 7}, Entries: log})
	require.NoError(t, err)
	require.Equal(t, OpNumber(9), replica.Status().Op)
	// What it contradicts was not committed.
	replica, err = New(config, Restored{HardState: HardState{View: 1, LastNormalView: 1, Commit: 1}, Checkpoint: CheckpointMeta{Op: 2, View: 3, Hash: 7}, Entries: log})
	require.NoError(t, err)
	require.Equal(t, OpNumber(2), replica.Status().Op)
}

// A checkpoint may be of a later view than the replica is in. A view between the two, whose log differs where
// the checkpoint has committed operations, is over; nothing is broken.
func TestCheckpointOfALaterViewContradictsNothing(t *testing.T) {
	committed, between := entries("b", 3, 3, 3), entries("a", 1, 1, 1, 1)
	meta := CheckpointMeta{Op: 3, View: 3, Hash: hashOf(committed, 3)}
	b := backup1(t, nil)
	b.step(suffix(KindPrepare, 2, 1, between, 4)) // a gap: a transfer is under way
	b.CheckpointInstalled(meta)
	b.act()
	for _, m := range []Message{
		suffix(KindPrepare, 2, 1, between, 3),
		suffix(KindPrepare, 2, 1, between, 4),
		suffix(KindStartView, 3, 2, between, 1),
		suffix(KindStartView, 3, 2, between[:2], 1),
		suffix(KindStartView, 3, 2, between, 4),
	} {
		b.step(m)
		require.NoError(t, b.Failure())
		require.Equal(t, OpNumber(3), b.Status().Op)
		require.Less(t, b.Status().LastNormalView, ViewNumber(2))
	}
}

// While a log of a later view comes in pieces, late messages of this view may commit operations, and checkpoints
// may take them out of the log: what comes for their places is the same and is left out.
func TestALogIsTakenOverAboveWhatIsCollectedMeanwhile(t *testing.T) {
	log, whole := entries("a", 1, 1, 1, 1), entries("a", 1, 1, 1, 1, 2, 2)
	b := backup1(t, log)
	part := askedState(t, b.step(suffix(KindPrepare, 3, 2, whole, 6)), whole)
	part.Entries = part.Entries[:2]
	sent := b.step(part)
	for _, op := range []OpNumber{3, 4} {
		b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 4, Commit: op})
		meta, ok := b.MetaAt(op)
		require.True(t, ok)
		b.CheckpointCreated(meta)
		b.act()
	}
	require.Equal(t, OpNumber(4), b.Status().FirstRetained)
	require.Equal(t, OpNumber(6), of(b.step(askedState(t, sent, whole)), KindPrepareOK)[0].Op)
	require.NoError(t, b.Failure())
	require.Equal(t, ViewNumber(2), b.Status().LastNormalView)
}

// A checkpoint of another replica became durable, and then the process died: storage's log knows nothing of it, and is
// told to go on from there.
func TestACheckpointThatTheLogDoesNotKnowOf(t *testing.T) {
	log := entries("a", 1, 1, 1)
	meta := CheckpointMeta{Op: 2, View: 1, Hash: hashOf(log, 2)}
	b := newBench(t, 1, Restored{Checkpoint: meta})
	ready := b.Ready()
	require.Equal(t, OpNumber(3), ready.TruncateBelow)
	b.Advance()
	b.step(suffix(KindStartView, 2, 1, log, 3))
	require.Equal(t, log[2:], b.log)
}

// A fetch that fails, perhaps one for what was heard of another epoch, ends what a transfer has gathered; the rest of that,
// which is on its way, has nothing to join.
func TestWhatComesAfterAFailedFetchJoinsNothing(t *testing.T) {
	log := entries("a", 1, 1, 2, 2, 2)
	b := backup1(t, log[:1])
	ask := of(b.step(Message{Kind: KindCommit, From: 3, View: 2, Op: 5}), KindGetState)[0]
	require.Equal(t, OpNumber(1), ask.First)
	answer := suffix(KindNewState, ask.To, 2, log, 1)
	answer.Nonce, answer.Entries = ask.Nonce, log[:2]
	ask = of(b.step(answer), KindGetState)[0]
	require.Equal(t, OpNumber(3), ask.First)
	b.CheckpointFailed()
	answer = suffix(KindNewState, ask.To, 2, log, 3)
	answer.Nonce = ask.Nonce
	b.step(answer)
	require.Equal(t, log[:1], b.log)
	require.Equal(t, OpNumber(1), of(b.ticks(10), KindGetState)[0].First)
}
