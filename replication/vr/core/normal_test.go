package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// PREPAREOKs of f different backups commit an operation, and everything before it (VRR 4.1, step 5).
func TestCommitWithQuorum(t *testing.T) {
	b := primary2(t)
	first, err := b.Propose(1, [][]byte{[]byte("a"), []byte("b")})
	require.NoError(t, err)
	require.Equal(t, OpNumber(1), first)
	sent := of(b.act(), KindPrepare)
	require.Len(t, sent, 1, "one PREPARE for both, to the backup that is in the view")
	require.Len(t, sent[0].Entries, 2)
	require.Empty(t, b.committed, "no commit without a quorum")

	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	require.Len(t, b.committed, 1)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 2})
	require.Len(t, b.committed, 2, "an acknowledgement is cumulative")
}

// The primary's own log counts only when it is durable.
func TestOwnLogCountsWhenDurable(t *testing.T) {
	b := primary2(t)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	ready := b.Ready()
	require.True(t, ready.MustSync)
	for _, outgoing := range ready.Messages {
		require.True(t, outgoing.BeforePersist, "a PREPARE need not wait for the primary's own disk")
	}
	b.Advance()
	require.Empty(t, b.committed)
}

// Only the leading primary of the view that is named takes anything (VRR 4).
func TestProposalsToOthersAreRefused(t *testing.T) {
	b := backup1(t, nil)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.ErrorIs(t, err, ErrNotPrimary)
	require.ErrorIs(t, b.ReadBarrier(1, 7), ErrNotPrimary)

	p := primary2(t)
	_, err = p.Propose(2, [][]byte{[]byte("a")})
	require.ErrorIs(t, err, ErrNotPrimary, "of another view")
}

func TestProposalsAreBounded(t *testing.T) {
	b := primary2(t)
	b.Replica.config.ProposalsBytesMax = 4
	_, err := b.Propose(1, [][]byte{[]byte("abcdef")})
	require.NoError(t, err, "a larger one alone is taken")
	_, err = b.Propose(1, [][]byte{[]byte("g")})
	require.ErrorIs(t, err, ErrOverloaded)
}

// A backup acknowledges nothing above a gap in its log: it fills the gap first (VRR 4.1, step 4).
func TestNoAcknowledgementAcrossAGap(t *testing.T) {
	log := entries("a", 1, 1, 1)
	b := backup1(t, log[:1])
	sent := b.step(suffix(KindPrepare, 2, 1, log, 3))
	require.Empty(t, of(sent, KindPrepareOK))
	require.Equal(t, OpNumber(2), of(sent, KindGetState)[0].First)

	broken := backup1(t, log[:1], RuleNoGap)
	require.Equal(t, OpNumber(3), of(broken.step(suffix(KindPrepare, 2, 1, log, 3)), KindPrepareOK)[0].Op)
}

// A commit-number above the log commits what is there, and no more.
func TestCommitNumberAboveTheLog(t *testing.T) {
	log := entries("a", 1, 1)
	b := backup1(t, log[:1])
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 2, Commit: 2})
	require.Len(t, b.committed, 1)
	b.step(suffix(KindPrepare, 2, 1, log, 2))
	require.Len(t, b.committed, 2)
}

func TestPrepareOKWaitsForTheDisk(t *testing.T) {
	for _, c := range []struct {
		name   string
		bench  *bench
		before bool
	}{
		{"with the rule", backup1(t, nil), false},
		{"without", backup1(t, nil, RulePrepareOKDurable), true},
	} {
		require.NoError(t, c.bench.Step(withTo(suffix(KindPrepare, 2, 1, entries("a", 1), 1), 1)))
		ready := c.bench.Ready()
		require.True(t, ready.MustSync, c.name)
		require.Equal(t, c.before, ready.Messages[0].BeforePersist, c.name)
	}
}

func withTo(m Message, to ReplicaID) Message {
	m.To = to
	return m
}

// An acknowledgement of an earlier view, in which the same replica was primary too, says nothing of this log.
func TestPrepareOKCountsInItsOwnView(t *testing.T) {
	for _, broken := range []bool{false, true} {
		b := primary2(t)
		if broken {
			b = primary2(t, RulePrepareOKView)
		}
		// Views 2 and 3 pass; view 4 is replica 2's again.
		b.step(Message{Kind: KindStartViewChange, From: 1, View: 4})
		b.step(Message{Kind: KindDoViewChange, From: 1, View: 4, First: 1})
		b.step(Message{Kind: KindPrepareOK, From: 1, View: 4})
		_, err := b.Propose(4, [][]byte{[]byte("x")})
		require.NoError(t, err)
		b.act()
		b.step(Message{Kind: KindPrepareOK, From: 3, View: 1, Op: 1})
		require.Equal(t, broken, len(b.committed) == 1)
	}
}

// What was lost is sent again.
func TestPreparesAreSentAgain(t *testing.T) {
	b := primary2(t)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	require.Len(t, of(b.act(), KindPrepare), 1)
	sent := of(b.ticks(b.Replica.config.ResendTicks+1), KindPrepare)
	require.Len(t, sent, 1)
	require.Equal(t, OpNumber(1), sent[0].First)
}

// To a backup that is there and acknowledges nothing, less and less often, until it does.
func TestPreparesAreSentAgainLessOften(t *testing.T) {
	b := primary2(t)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	b.act()
	resend := b.Replica.config.ResendTicks
	count := func(ticks int) (times int) {
		for range ticks {
			b.step(Message{Kind: KindCommitOK, From: 1, View: 1}) // its disk is at work
			times += len(of(b.ticks(1), KindPrepare))
		}
		return times
	}
	require.Equal(t, 3, count((1+2+4)*resend))
	require.Equal(t, 4, count(4*8*resend), "but no less often than that")
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 1})
	_, err = b.Propose(1, [][]byte{[]byte("b")})
	require.NoError(t, err)
	b.act()
	require.Equal(t, 1, count(resend+1))
}

// At least 32 PREPAREs may be in flight.
func TestManyPreparesInFlight(t *testing.T) {
	b := primary2(t)
	count := 0
	for range 40 {
		_, err := b.Propose(1, [][]byte{[]byte("a")})
		require.NoError(t, err)
		count += len(of(b.act(), KindPrepare))
	}
	require.Equal(t, 40, count)
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1, Op: 40})
	require.Len(t, b.committed, 40)
}

// A primary that hears nobody stops leading and stops its heartbeats, so that the others choose one that hears
// them.
func TestCheckQuorum(t *testing.T) {
	b := primary2(t)
	require.NoError(t, b.ReadBarrier(1, 9))
	b.ticks(b.Replica.config.ViewChangeTicksMin + 1)
	require.False(t, b.leads)
	require.Equal(t, []Read{{Token: 9}}, b.reads)
	require.Empty(t, of(b.ticks(2*b.Replica.config.HeartbeatTicks), KindCommit))

	broken := primary2(t, RuleCheckQuorum)
	broken.ticks(broken.Replica.config.ViewChangeTicksMin + 1)
	require.True(t, broken.leads)
}

// A read is answered by a round that began after it was asked for.
func TestReadWaitsForItsRound(t *testing.T) {
	b := primary2(t)
	require.NoError(t, b.ReadBarrier(1, 1))
	round := of(b.act(), KindCommit)[0].Round
	require.NoError(t, b.ReadBarrier(1, 2))
	later := of(b.act(), KindCommit)[0].Round
	require.Greater(t, later, round)
	require.Empty(t, b.reads)
	b.step(Message{Kind: KindCommitOK, From: 1, View: 1, Round: round})
	require.Equal(t, []Read{{Token: 1, OK: true}}, b.reads)
	b.step(Message{Kind: KindCommitOK, From: 1, View: 1, Round: later})
	require.Len(t, b.reads, 2)

	broken := primary2(t, RuleReadRound)
	require.NoError(t, broken.ReadBarrier(1, 1))
	broken.act()
	require.Len(t, broken.reads, 1)
}

// A group of one commits what is durable.
func TestGroupOfOne(t *testing.T) {
	b := newBench(t, 1, Restored{})
	b.config.Members = []ReplicaID{1}
	b.restart(Restored{})
	b.act()
	require.True(t, b.leads)
	_, err := b.Propose(1, [][]byte{[]byte("a")})
	require.NoError(t, err)
	b.act()
	require.Len(t, b.committed, 1)
}
