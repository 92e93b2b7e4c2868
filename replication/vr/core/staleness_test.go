package core

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// clockNumber is that of the replicas under test here.
const clockNumber = 77

// ageing makes a bench's replica one that tells ages, with clocks that may be slower than another by a tenth.
func ageing(b *bench) *bench {
	b.Replica.config.ClockMargin, b.Replica.config.Clock = 100, clockNumber
	return b
}

// askedStale asks for a stale read and returns what is sent, and its answer; nil: it waits.
func (b *bench) askedStale(token, atMost uint64) (sent []Outgoing, answer *StaleRead) {
	b.Helper()
	require.NoError(b, b.ReadStale(token, atMost))
	sent = b.act()
	return sent, b.answerOf(token)
}

func (b *bench) answerOf(token uint64) *StaleRead {
	for i := range b.stale {
		if b.stale[i].Token == token {
			return &b.stale[i]
		}
	}
	return nil
}

// echo is the COMMIT of view 1 that brings a stamp back.
func echo(stamp uint64, commit OpNumber) Message {
	return Message{Kind: KindCommit, From: 2, View: 1, Op: commit, Commit: commit, Stamp: stamp, Clock: clockNumber}
}

// A backup says what its clock shows, and knows by what comes back how old its state is.
func TestAgeIsCountedFromTheStamp(t *testing.T) {
	read := func(rules ...omit.Rule) *StaleRead {
		b := ageing(leasedBackup(t, rules...))
		answer := of(b.step(Message{Kind: KindCommit, From: 2, View: 1, Round: 1}), KindCommitOK)[0]
		require.EqualValues(t, 4999, answer.Stamp)
		require.EqualValues(t, clockNumber, answer.Clock)
		b.SetTime(5899)
		b.step(echo(answer.Stamp, 0))
		asOf, known := b.AsOf()
		require.True(t, known)
		require.LessOrEqual(t, asOf, uint64(5899))
		_, stale := b.askedStale(1, 1002)
		return stale
	}
	require.Equal(t, &StaleRead{Token: 1, OK: true, Age: 1000}, read(), "900 by a clock that is slower by a tenth")
	require.EqualValues(t, 0, read(RuleStaleFromStamp).Age)
	require.EqualValues(t, 900, read(RuleStaleMargin).Age)
}

func TestAgesAreThoseOfTheFastestClock(t *testing.T) {
	for _, test := range []struct {
		margin           ClockMargin
		elapsed, longest uint64
	}{
		{0, 12345, 12345},
		{100, 9, 10},
		{100, 10, 12},
		{100, 900, 1000},
		{500, 7, 14},
		{900, 1 << 60, 10 << 60},
		{100, 0, 0},
	} {
		require.Equal(t, test.longest, test.margin.Longest(test.elapsed), "%+v", test)
	}
	for margin := ClockMargin(0); margin <= clockMarginMax; margin += 45 {
		for _, bound := range []uint64{0, 1, 7, 999, 1000, 12_345_678, math.MaxInt64} {
			within := margin.Shortest(bound)
			require.LessOrEqual(t, margin.Longest(within), bound)
			require.Greater(t, margin.Longest(within+1), bound, "no more than that is left out")
		}
	}
}

// A COMMIT that is late or comes again makes nothing older, and nothing newer than it is.
func TestEchoesThatAreLateAndRepeated(t *testing.T) {
	b := ageing(leasedBackup(t))
	b.SetTime(6000)
	for _, stamp := range []uint64{5100, 5300, 5200, 5300, 0} {
		b.step(echo(stamp, 0))
	}
	asOf, known := b.AsOf()
	require.True(t, known)
	require.EqualValues(t, 5300, asOf)
	b.step(echo(6001, 0))
	asOf, _ = b.AsOf()
	require.EqualValues(t, 5300, asOf, "nobody can have had that stamp")
	b.step(Message{Kind: KindStartView, From: 3, View: 2, First: 1})
	asOf, known = b.AsOf()
	require.True(t, known)
	require.EqualValues(t, 5300, asOf, "another view takes nothing back")
}

// The clock of another process may have shown anything.
func TestStampsOfAnotherClockCountForNothing(t *testing.T) {
	known := func(rules ...omit.Rule) bool {
		b := ageing(leasedBackup(t, rules...))
		other := echo(5000, 0)
		other.Clock++
		b.step(other)
		_, known := b.AsOf()
		return known
	}
	require.False(t, known())
	require.True(t, known(RuleStaleClock))
}

// What is known to be committed and is not here yet does not count.
func TestAStateIsAsNewAsWhatIsApplied(t *testing.T) {
	answered := func(rules ...omit.Rule) (before, after bool) {
		b := ageing(leasedBackup(t, rules...))
		log := entries("a", 1, 1)
		b.step(suffix(KindPrepare, 2, 1, log[:1], 1))
		b.SetTime(5100)
		b.step(echo(5050, 2))
		_, answer := b.askedStale(1, 500)
		before = answer != nil
		b.step(suffix(KindPrepare, 2, 1, log, 2))
		return before, b.answerOf(1) != nil
	}
	before, after := answered()
	require.False(t, before)
	require.True(t, after)
	before, _ = answered(RuleStaleApplied)
	require.True(t, before)
}

// Of stamps whose commit-numbers are far ahead, those count that are reached, one after the other.
func TestStampsCountOneAfterTheOther(t *testing.T) {
	b := ageing(leasedBackup(t))
	b.SetTime(6000)
	log := entries("a", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	for op := OpNumber(1); op <= 20; op++ {
		b.step(echo(5000+uint64(op), op))
	}
	require.Len(t, b.staleness.heard, heardMax)
	at := func(op OpNumber) uint64 {
		b.step(suffix(KindPrepare, 2, 1, log[:op], b.Status().Op+1))
		asOf, _ := b.AsOf()
		return asOf
	}
	require.EqualValues(t, 5003, at(3))
	require.EqualValues(t, 5015, at(15))
	require.EqualValues(t, 5015, at(19), "the last of them has taken the place of those after 15")
	require.EqualValues(t, 5020, at(20))
}

// stamped is the COMMITOK of a backup that says what its clock shows.
func stamped(from ReplicaID, round, stamp uint64) Message {
	return Message{Kind: KindCommitOK, From: from, View: 1, Round: round, Stamp: stamp, Clock: 10 + uint64(from)}
}

// stampFor is the stamp that the primary gives a backup back with its next heartbeat.
func (b *bench) stampFor(backup ReplicaID) uint64 {
	b.Helper()
	for _, m := range of(b.ticks(b.config.withDefaults().HeartbeatTicks), KindCommit) {
		if m.To == backup {
			require.True(b, m.Stamp == 0 || m.Clock == 10+uint64(backup))
			return m.Stamp
		}
	}
	b.Fatal("no COMMIT")
	return 0
}

// Without a lease a stamp goes back when a quorum has answered a round that began after it had come.
func TestARoundConfirmsOnlyEarlierStamps(t *testing.T) {
	b := fiveOf(t)
	require.Zero(t, b.stampFor(1)) // round 1
	b.step(stamped(1, 1, 900))
	require.Zero(t, b.stampFor(1), "nobody has answered since") // round 2
	b.step(stamped(1, 2, 901))
	b.step(stamped(3, 2, 500))
	require.EqualValues(t, 900, b.stampFor(1)) // round 3
	b.step(stamped(4, 2, 600))
	b.step(stamped(5, 2, 700))
	require.EqualValues(t, 900, b.stampFor(1), "round 3 confirms what came with round 2, and nobody has answered it")

	early := fiveOf(t, RuleStaleRound)
	require.Zero(t, early.stampFor(1))
	early.step(stamped(3, 1, 500))
	early.step(stamped(1, 1, 900))
	require.EqualValues(t, 900, early.stampFor(1))
}

func TestAStampIsConfirmedFirst(t *testing.T) {
	b := fiveOf(t)
	b.heartbeat()
	b.step(stamped(1, 1, 900))
	require.Zero(t, b.stampFor(1))

	b = fiveOf(t, RuleStaleConfirmed)
	b.heartbeat()
	b.step(stamped(1, 1, 900))
	require.EqualValues(t, 900, b.stampFor(1))
}

// fiveOf is a primary of five without leases, which leads view 1.
func fiveOf(t *testing.T, rules ...omit.Rule) *bench {
	t.Helper()
	b := leased(t, 2, 5, rules...)
	b.Replica.config.LeaseDuration = 0
	b.SetTime(5000)
	for _, kind := range []Kind{KindStartViewChange, KindDoViewChange, KindPrepareOK} {
		for _, from := range []ReplicaID{1, 3} {
			b.step(Message{Kind: kind, From: from, View: 1, First: 1})
		}
	}
	require.True(t, b.leads)
	return b
}

// Under a lease a stamp goes back with the next COMMIT, or at once to whoever asks.
func TestALeaseConfirmsStamps(t *testing.T) {
	b := ageing(leasedPrimary(t))
	asked := b.heartbeat()
	b.SetTime(5100)
	b.grantLease(asked)
	require.True(t, b.HoldsLease())
	b.step(stamped(3, 0, 900))
	require.EqualValues(t, 900, b.stampFor(3))
	ask := stamped(3, 0, 950)
	ask.Agree = true
	sent := of(b.step(ask), KindCommit)
	require.Len(t, sent, 1)
	require.EqualValues(t, 3, sent[0].To)
	require.EqualValues(t, 950, sent[0].Stamp)
	require.Len(t, b.step(ask), 1, "the answer may have been lost")
	b.SetTime(9000)
	b.step(stamped(3, 0, 960))
	require.EqualValues(t, 950, b.stampFor(3), "the lease is over")
}

// Without one, whoever asks has a round begun, and is answered as soon as that is.
func TestAskingForAStampBeginsARound(t *testing.T) {
	b := fiveOf(t)
	ask := stamped(1, 0, 900)
	ask.Agree = true
	sent := of(b.step(ask), KindCommit)
	require.Len(t, sent, 4)
	require.Zero(t, sent[0].Stamp)
	round := sent[0].Round
	require.Empty(t, b.step(ask), "the round is under way")
	b.step(stamped(3, round, 500))
	sent = of(b.step(stamped(4, round, 500)), KindCommit)
	require.Len(t, sent, 1)
	require.EqualValues(t, 1, sent[0].To)
	require.EqualValues(t, 900, sent[0].Stamp)
	b.ticks(b.config.withDefaults().ViewChangeTicksMin - 1)
	for range 3 {
		ask.Stamp++
		b.step(ask)
	}
	b.ticks(1)
	require.False(t, b.leads, "who asks may well not hear this primary, and does not count")
	require.Empty(t, b.step(ask), "a primary that is deaf answers nobody")
}

// A primary that has not committed all that it inherited does not know what was acknowledged in earlier views.
func TestOnlyALeadingPrimaryConfirmsStamps(t *testing.T) {
	confirmed := func(rules ...omit.Rule) uint64 {
		b := leased(t, 2, 3, rules...)
		b.Replica.config.LeaseDuration = 0
		b.SetTime(5000)
		inherited := entries("a", 1, 1)
		b.step(Message{Kind: KindStartViewChange, From: 1, View: 4})
		b.step(Message{
			Kind: KindDoViewChange, From: 1, View: 4, LastNormalView: 1, First: 1, Entries: inherited, Op: 2, Hash: inherited[1].Hash,
		})
		for range 2 {
			asked := b.heartbeat()
			b.step(Message{Kind: KindCommitOK, From: 1, View: 4, Round: asked.Round, Op: 1, Stamp: 800 + asked.Round, Clock: 11})
		}
		require.False(t, b.leads)
		return b.stampFor(1)
	}
	require.Zero(t, confirmed())
	require.EqualValues(t, 801, confirmed(RuleStaleLeads))
}

// A stamp that came late is no reason to forget a newer one; those of another clock are apart.
func TestStampsOfABackup(t *testing.T) {
	var stamps []stamp
	for _, taken := range []stamp{{5, 1, 1}, {4, 1, 1}, {6, 1, 1}, {7, 1, 2}, {3, 2, 2}, {8, 2, 3}, {9, 2, 4}, {10, 2, 5}} {
		stamps = keepStamp(stamps, taken)
	}
	require.Equal(t, []stamp{{6, 1, 1}, {3, 2, 2}, {8, 2, 3}, {10, 2, 5}}, stamps)
	newest, rest := lastConfirmed(stamps, 3)
	require.Equal(t, stamp{8, 2, 3}, newest)
	require.Equal(t, []stamp{{10, 2, 5}}, rest)
	newest, rest = lastConfirmed(rest, 4)
	require.Zero(t, newest)
	require.Len(t, rest, 1)
}

// A backup whose state is too old asks, once for all who wait, and again when no answer comes.
func TestABackupAsksForWhatItNeeds(t *testing.T) {
	b := ageing(leasedBackup(t))
	sent, answer := b.askedStale(1, 100)
	require.Nil(t, answer)
	require.Len(t, sent, 1)
	require.Equal(t, Message{Kind: KindCommitOK, From: 1, To: 2, View: 1, Stamp: 5000, Clock: clockNumber, Agree: true}, sent[0].Message)
	b.SetTime(5001)
	sent, answer = b.askedStale(2, 0)
	require.Nil(t, answer)
	require.Empty(t, sent, "a question is under way")
	sent = b.step(echo(5000, 0))
	require.Equal(t, &StaleRead{Token: 1, OK: true}, b.answerOf(1), "newer than the call is as good as no age")
	require.Nil(t, b.answerOf(2), "it was asked for after that")
	asks := of(sent, KindCommitOK)
	require.Len(t, asks, 2, "the answer to the COMMIT, and another question")
	require.EqualValues(t, 5001, asks[1].Stamp)
	require.True(t, asks[1].Agree)
	require.Empty(t, b.ticks(b.config.withDefaults().ResendTicks-1))
	b.SetTime(5050)
	again := of(b.ticks(1), KindCommitOK)
	require.Len(t, again, 1)
	require.EqualValues(t, 5050, again[0].Stamp)
	b.step(echo(5001, 0))
	require.NotNil(t, b.answerOf(2), "the answer to the first question will do")
	require.Empty(t, of(b.ticks(b.config.withDefaults().ResendTicks), KindCommitOK))
}

func TestAStaleReadIsGivenUp(t *testing.T) {
	b := ageing(leasedBackup(t))
	b.askedStale(3, 10)
	b.askedStale(5, 10)
	for _, none := range []uint64{0, 4, 6} {
		b.CancelReadStale(none)
	}
	require.Empty(t, b.act())
	require.Empty(t, b.stale)
	b.CancelReadStale(3)
	b.CancelReadStale(3)
	b.act()
	require.Equal(t, []StaleRead{{Token: 3, Age: math.MaxUint64}}, b.stale, "nothing was ever heard")
	b.SetTime(5090)
	b.step(echo(4900, 0))
	b.CancelReadStale(5)
	b.act()
	require.Equal(t, StaleRead{Token: 5, Age: 212}, b.stale[1], "190 by the slowest clock")
	b.step(echo(5090, 0))
	require.Len(t, b.stale, 2)
	require.Empty(t, b.staleness.waiting)
}

func TestStaleReadsAreBounded(t *testing.T) {
	b := ageing(leasedBackup(t))
	b.Replica.config.ReadsMax = 2
	b.askedStale(1, 0)
	b.askedStale(2, 0)
	require.ErrorIs(t, b.ReadStale(3, 0), ErrOverloaded)
	b.CancelReadStale(1)
	require.NoError(t, b.ReadStale(4, 0))
	require.ErrorIs(t, b.ReadStale(5, 0), ErrOverloaded)
	b.fail("a test")
	require.ErrorIs(t, b.ReadStale(6, 0), ErrStopped)
}

// A primary is asked like any other. Under a lease its state has no age, and otherwise it takes a round.
func TestAPrimaryAnswersStaleReads(t *testing.T) {
	b := ageing(leasedPrimary(t))
	asked := b.heartbeat()
	b.grantLease(asked)
	b.SetTime(5100)
	sent, answer := b.askedStale(1, 0)
	require.Empty(t, sent)
	require.Equal(t, &StaleRead{Token: 1, OK: true}, answer)

	b.SetTime(9000)
	sent, answer = b.askedStale(2, 1000)
	require.Nil(t, answer)
	require.Len(t, sent, 2)
	b.SetTime(9100)
	b.step(stamped(1, of(sent, KindCommit)[0].Round, 5))
	require.Equal(t, &StaleRead{Token: 2, OK: true}, b.answerOf(2))
	b.SetTime(9500)
	_, answer = b.askedStale(3, 1000)
	require.Equal(t, &StaleRead{Token: 3, OK: true, Age: 556}, answer, "500 since the round was sent")
}

func TestAGroupOfOneAnswersStaleReads(t *testing.T) {
	b := newBench(t, 1, Restored{})
	b.config.Members = []ReplicaID{1}
	b.restart(Restored{})
	b.SetTime(100)
	b.act()
	require.True(t, b.leads)
	_, answer := b.askedStale(1, 0)
	require.Equal(t, &StaleRead{Token: 1, OK: true}, answer)
}

// What was known before a restart was of another clock.
func TestARestartKnowsNoAge(t *testing.T) {
	b := ageing(leasedBackup(t))
	b.step(echo(5000, 0))
	b.config.Now = 10_000
	b.crash()
	_, known := b.AsOf()
	require.False(t, known)
	_, answer := b.askedStale(1, math.MaxInt64)
	require.Nil(t, answer, "a bound beyond its whole life does not make its state newer")
}

// While the clock stands still, no stamp answers a read that was asked for after the stamp had left.
func TestAClockThatStandsStill(t *testing.T) {
	b := ageing(leasedBackup(t))
	b.SetTime(5100)
	common := of(b.step(Message{Kind: KindCommit, From: 2, View: 1}), KindCommitOK)[0]
	sent, _ := b.askedStale(1, 0)
	own := of(sent, KindCommitOK)[0]
	b.askedStale(2, 0)
	b.step(echo(common.Stamp, 0))
	require.Nil(t, b.answerOf(1))
	sent = asksOf(b.step(echo(own.Stamp, 0)))
	require.NotNil(t, b.answerOf(1))
	require.Nil(t, b.answerOf(2))
	require.Empty(t, sent, "there is no stamp for another question")
	_, answer := b.askedStale(3, 0)
	require.Nil(t, answer)
	b.SetTime(5101)
	asks := asksOf(b.ticks(1))
	require.Len(t, asks, 1)
	b.step(echo(asks[0].Message.Stamp, 0))
	require.NotNil(t, b.answerOf(2))
	require.NotNil(t, b.answerOf(3))

	p := fiveOf(t)
	sent, _ = p.askedStale(1, 0)
	first := of(sent, KindCommit)[0].Round
	sent, _ = p.askedStale(2, 0)
	second := of(sent, KindCommit)[0].Round
	require.Greater(t, second, first)
	confirm := func(round uint64) {
		for _, from := range []ReplicaID{1, 3} {
			p.step(Message{Kind: KindCommitOK, From: from, View: 1, Round: round})
		}
	}
	confirm(first)
	require.NotNil(t, p.answerOf(1))
	require.Nil(t, p.answerOf(2))
	confirm(second)
	require.Nil(t, p.answerOf(2), "its round has no stamp of its own")
	p.SetTime(5001)
	confirm(p.heartbeat().Round)
	require.NotNil(t, p.answerOf(2))
}

// asksOf are the questions among what was sent.
func asksOf(sent []Outgoing) []Outgoing {
	return slices.DeleteFunc(sent, func(out Outgoing) bool { return !out.Message.Agree })
}
