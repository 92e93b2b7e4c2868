package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

// leased is a replica of a group with leases of 1000, of which a primary counts on 900.
func leased(t *testing.T, self ReplicaID, members int, rules ...omit.Rule) *bench {
	t.Helper()
	b := newBench(t, self, Restored{}, rules...)
	b.config.LeaseDuration, b.config.LeaseMargin, b.config.LeaseLongest = 1000, 100, 1000
	for id := 4; id <= members; id++ {
		b.config.Members = append(b.config.Members, ReplicaID(id))
	}
	b.restart(Restored{})
	return b
}

// leasedPrimary leads view 1 at time 5000.
func leasedPrimary(t *testing.T, rules ...omit.Rule) *bench {
	t.Helper()
	b := leased(t, 2, 3, rules...)
	b.SetTime(4000)
	b.SetTime(5000)
	b.step(Message{Kind: KindStartViewChange, From: 1, View: 1})
	b.step(Message{Kind: KindDoViewChange, From: 1, View: 1, First: 1})
	b.step(Message{Kind: KindPrepareOK, From: 1, View: 1})
	require.True(t, b.leads)
	return b
}

// leasedBackup is replica 1, normal in view 1, whose primary is replica 2, at time 5000.
func leasedBackup(t *testing.T, rules ...omit.Rule) *bench {
	t.Helper()
	b := leased(t, 1, 3, rules...)
	b.SetTime(4000)
	b.SetTime(5000)
	b.step(Message{Kind: KindStartView, From: 2, View: 1, First: 1})
	require.Equal(t, StatusNormal, b.Status().Status)
	return b
}

// heartbeat lets the primary send its next COMMIT and returns that.
func (b *bench) heartbeat() Message {
	b.Helper()
	sent := of(b.ticks(b.config.withDefaults().HeartbeatTicks), KindCommit)
	require.NotEmpty(b, sent)
	return sent[0]
}

// grantLease answers that COMMIT for replica 1.
func (b *bench) grantLease(asked Message) {
	b.Helper()
	b.step(Message{Kind: KindCommitOK, From: 1, View: asked.View, Round: asked.Round, Op: asked.Op, Lease: asked.Lease})
}

// read asks for a read of view 1 and reports whether it was answered at once, by a lease.
func (b *bench) read() bool {
	b.Helper()
	before := len(b.reads)
	_ = b.ReadBarrier(1, 7)
	b.act()
	if len(b.reads) == before {
		return false
	}
	return b.reads[before].OK && b.reads[before].Lease
}

func TestLeaseIsCountedFromSending(t *testing.T) {
	reads := func(rules ...omit.Rule) (last, over bool) {
		b := leasedPrimary(t, rules...)
		asked := b.heartbeat()
		require.EqualValues(t, 1000, asked.Lease)
		require.False(t, b.read(), "nobody has granted it")
		b.SetTime(5300)
		b.grantLease(asked)
		b.SetTime(5899)
		last = b.read()
		b.SetTime(5900)
		return last, b.read()
	}
	last, over := reads()
	require.True(t, last)
	require.False(t, over)
	for _, rule := range []omit.Rule{RuleLeaseFromSending, RuleLeaseMargin} {
		_, over = reads(rule)
		require.True(t, over)
	}
}

// A lease goes on without a gap while heartbeats are answered, and over answers that are lost.
func TestLeaseIsRenewed(t *testing.T) {
	b := leasedPrimary(t)
	b.grantLease(b.heartbeat())
	for now := uint64(5200); now < 20_000; now += 200 {
		b.SetTime(now)
		require.True(t, b.read(), "at %d", now)
		if asked := b.heartbeat(); now/200%3 == 0 {
			b.grantLease(asked)
		}
	}
	b.SetTime(25_000)
	require.False(t, b.read())
	require.False(t, b.HoldsLease())
	asked := b.heartbeat()
	b.SetTime(25_200)
	b.grantLease(asked)
	require.True(t, b.HoldsLease())
	b.SetTime(25_899)
	require.True(t, b.read(), "a round that was open for longer than a lease does not count")
}

func TestLeaseNeedsItsLength(t *testing.T) {
	b := leasedPrimary(t)
	asked := b.heartbeat()
	asked.Lease = 999
	b.grantLease(asked)
	require.False(t, b.read(), "a backup that grants less grants nothing")

	backup := leasedBackup(t)
	for lease, granted := range map[uint64]uint64{0: 0, 500: 500, 1000: 1000, 1001: 0} {
		answer := of(backup.step(Message{Kind: KindCommit, From: 2, View: 1, Round: 1, Lease: lease}), KindCommitOK)[0]
		require.Equal(t, granted, answer.Lease)
	}
	off := leasedPrimary(t)
	off.config.LeaseDuration, off.Replica.config.LeaseDuration = 0, 0
	asked = off.heartbeat()
	require.Zero(t, asked.Lease)
	off.grantLease(asked)
	require.False(t, off.read())
}

// What f backups grant is what no later view can begin without.
func TestLeaseNeedsAQuorum(t *testing.T) {
	reads := func(rules ...omit.Rule) (one, two bool) {
		b := leased(t, 2, 5, rules...)
		b.SetTime(5000)
		for _, kind := range []Kind{KindStartViewChange, KindDoViewChange, KindPrepareOK} {
			for _, from := range []ReplicaID{1, 3} {
				b.step(Message{Kind: kind, From: from, View: 1, First: 1})
			}
		}
		require.True(t, b.leads)
		asked := b.heartbeat()
		b.grantLease(asked)
		one = b.read()
		b.step(Message{Kind: KindCommitOK, From: 3, View: 1, Round: asked.Round, Lease: asked.Lease})
		return one, b.read()
	}
	one, two := reads()
	require.False(t, one)
	require.True(t, two)
	one, _ = reads(RuleLeaseQuorum)
	require.True(t, one)
}

// A primary that has not got everything inherited committed has no lease, whoever would grant it.
func TestLeaseOnlyWhenLeading(t *testing.T) {
	reads := func(rules ...omit.Rule) bool {
		b := leased(t, 2, 3, rules...)
		b.SetTime(5000)
		inherited := entries("a", 1, 1)
		b.step(Message{Kind: KindStartViewChange, From: 1, View: 4})
		b.step(Message{
			Kind: KindDoViewChange, From: 1, View: 4, LastNormalView: 1, First: 1, Entries: inherited, Op: 2, Hash: inherited[1].Hash,
		})
		asked := b.heartbeat()
		require.EqualValues(t, 4, asked.View)
		asked.Op = 1
		b.grantLease(asked)
		require.False(t, b.leads)
		_ = b.ReadBarrier(4, 1)
		b.act()
		return len(b.reads) > 0
	}
	require.False(t, reads())
	require.True(t, reads(RuleLeaseLeads))
}

// Whatever ends its leading ends a primary's lease.
func TestLeaseIsDropped(t *testing.T) {
	ends := map[string]func(b *bench){
		"a later view": func(b *bench) { b.step(Message{Kind: KindStartViewChange, From: 1, View: 2}) },
		"a later primary": func(b *bench) {
			b.step(Message{Kind: KindCommit, From: 3, View: 2})
		},
		"silence": func(b *bench) { b.ticks(b.config.withDefaults().ViewChangeTicksMin) },
		"a handover": func(b *bench) {
			require.NoError(b, b.HandOver(1))
			b.grantLease(of(b.act(), KindCommit)[0])
			require.EqualValues(b, 3, b.Status().View)
		},
		"a broken invariant": func(b *bench) { b.fail("a test") },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			b := leasedPrimary(t)
			b.grantLease(b.heartbeat())
			require.True(t, b.read())
			end(b)
			require.False(t, b.HoldsLease())
			require.False(t, b.read())
			require.Error(t, b.ReadBarrier(1, 8))
		})
	}
	b := leasedPrimary(t, RuleLeaseDropped)
	b.grantLease(b.heartbeat())
	ends["a later view"](b)
	require.True(t, b.read())
}

// A process that stood still goes by what the clock shows when it goes on.
func TestClockIsReadAfterTheRequest(t *testing.T) {
	reads := func(rules ...omit.Rule) bool {
		b := leasedPrimary(t, rules...)
		b.SetTime(5100)
		b.grantLease(b.heartbeat())
		require.True(t, b.read())
		b.SetTime(60_000)
		return b.read()
	}
	require.False(t, reads())
	require.True(t, reads(RuleLeaseClock))

	b := leasedPrimary(t)
	b.grantLease(b.heartbeat())
	b.SetTime(60_000)
	b.SetTime(5000)
	require.False(t, b.read(), "a clock never goes back")
}

// leavers are what takes a replica into a change to view 3.
func leavers() []Message {
	return []Message{
		{Kind: KindStartViewChange, View: 3},
		{Kind: KindDoViewChange, View: 3, First: 1},
		{Kind: KindRecovery, View: 3, First: 1},
	}
}

func TestGrantHoldsViewChangesBack(t *testing.T) {
	granted := func(rules ...omit.Rule) *bench {
		b := leasedBackup(t, rules...)
		answer := of(b.step(Message{Kind: KindCommit, From: 2, View: 1, Round: 1, Lease: 1000}), KindCommitOK)
		require.EqualValues(t, 1000, answer[0].Lease)
		return b
	}
	for _, leave := range leavers() {
		t.Run(leave.Kind.String(), func(t *testing.T) {
			leave.From = 3
			b := granted()
			require.Empty(t, b.step(leave))
			require.EqualValues(t, 3, b.Status().Awaited)
			b.SetTime(5500)
			answer := of(b.step(Message{Kind: KindCommit, From: 2, View: 1, Round: 2, Lease: 1000}), KindCommitOK)
			require.Zero(t, answer[0].Lease, "it grants no more while somebody waits")
			b.SetTime(5999)
			b.ticks(1)
			require.EqualValues(t, 1, b.Status().View)
			b.SetTime(6000)
			require.NotEmpty(t, of(b.ticks(1), KindStartViewChange), "it follows as soon as it may, unasked")
			require.EqualValues(t, 3, b.Status().View)
			require.Zero(t, b.Status().Awaited)

			b = granted()
			leave.From = 2
			b.step(leave)
			require.EqualValues(t, 3, b.Status().View, "the primary itself has left, and its lease with it")

			b = granted(RuleLeaseGrant)
			leave.From = 3
			b.step(leave)
			require.EqualValues(t, 3, b.Status().View)
		})
	}
}

// A replica whose time-out is over, by ticks, still keeps what it granted, by the clock.
func TestGrantHoldsTheTimerBack(t *testing.T) {
	b := leasedBackup(t)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Round: 1, Lease: 1000})
	sent := b.ticks(2 * b.config.withDefaults().ViewChangeTicksMax)
	require.Empty(t, of(sent, KindProbe))
	answer := of(b.step(Message{Kind: KindProbe, From: 3, View: 1, Nonce: 5}), KindProbeOK)
	require.False(t, answer[0].Agree)
	b.SetTime(6000)
	answer = of(b.step(Message{Kind: KindProbe, From: 3, View: 1, Nonce: 6}), KindProbeOK)
	require.True(t, answer[0].Agree)
	require.NotEmpty(t, of(b.ticks(1), KindProbe))
}

// A view that has begun proves that the lease is over: it is followed at once.
func TestGrantHoldsNoViewBackThatHasBegun(t *testing.T) {
	b := leasedBackup(t)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Round: 1, Lease: 1000})
	b.step(Message{Kind: KindStartView, From: 3, View: 2, First: 1})
	require.EqualValues(t, 2, b.Status().View)
	require.Equal(t, StatusNormal, b.Status().Status)
	require.False(t, b.grants())
}

// Grants are not durable: after a start every replica that may have granted one behaves as if it had.
func TestNoViewChangeForALeaseAfterAStart(t *testing.T) {
	started := func(state HardState, rules ...omit.Rule) (*bench, []Outgoing) {
		b := leased(t, 1, 3, rules...)
		b.config.Now = 7000
		b.restart(Restored{HardState: state})
		return b, b.act()
	}
	backup := HardState{View: 1, LastNormalView: 1}
	for _, leave := range leavers() {
		leave.From = 3
		b, _ := started(backup)
		b.step(leave)
		b.SetTime(7999)
		b.ticks(1)
		require.EqualValues(t, 1, b.Status().View)
		b.SetTime(8000)
		b.ticks(1)
		require.EqualValues(t, 3, b.Status().View)

		b, _ = started(backup)
		leave.From = 2
		b.step(leave)
		require.EqualValues(t, 3, b.Status().View, "the old primary has left, perhaps by a restart")

		b, _ = started(backup, RuleLeaseAfterStart)
		leave.From = 3
		b.step(leave)
		require.EqualValues(t, 3, b.Status().View)
	}
	_, sent := started(HardState{View: 3, LastNormalView: 3})
	require.Len(t, of(sent, KindStartViewChange), 2, "a primary granted nothing, and waits for nobody")
	_, sent = started(HardState{View: 2, LastNormalView: 1})
	require.Len(t, of(sent, KindStartViewChange), 2, "who is in a view change has granted nothing since")
}

func TestLeasesAreChecked(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"longer than is granted": func(c *Config) { c.LeaseDuration = 1001 },
		"all margin":             func(c *Config) { c.LeaseMargin = 1000 },
		"no end":                 func(c *Config) { c.LeaseLongest = 1 << 62 },
	} {
		b := leased(t, 1, 3)
		change(&b.config)
		require.ErrorIs(t, b.config.Validate(), ErrConfig, name)
	}
}

// A primary gives its lease up before it proposes the members of the next epoch, which does not wait for it, and takes
// none until it is over: a read takes a round.
func TestAReconfigurationEndsTheLease(t *testing.T) {
	b := leasedPrimary(t)
	b.grantLease(b.heartbeat())
	require.True(t, b.read())
	_, err := b.Reconfigure(membersOf(1, 2), false)
	require.NoError(t, err)
	require.False(t, b.HoldsLease())
	b.act()
	asked := b.heartbeat()
	asked.Op = 0 // replica 1 has not acknowledged the RECONFIGURATION
	b.grantLease(asked)
	require.True(t, b.leads)
	require.False(t, b.read())
}

// What a replica granted in an epoch does not keep it from the views of the next, where their numbers may be the same.
func TestGrantsEndWithTheirEpoch(t *testing.T) {
	log, m := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 2)
	b := leasedBackup(t)
	b.step(suffix(KindPrepare, 2, 1, log, 1))
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 3, Commit: 2, Lease: 1000})
	require.Empty(t, b.step(Message{Kind: KindStartViewChange, From: 3, View: 7}))
	require.Equal(t, ViewNumber(7), b.Status().Awaited)
	b.step(Message{Kind: KindCommit, From: 2, View: 1, Op: 3, Commit: 3})
	require.Equal(t, m.Epoch, b.Status().Epoch)
	require.Zero(t, b.Status().Awaited)
	b.SetTime(9000)
	b.ticks(1)
	require.Equal(t, m.View, b.Status().View)
	require.NotEmpty(t, of(b.step(Message{Kind: KindStartViewChange, Epoch: 1, From: 4, View: 3}), KindStartViewChange))
}
