package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// quiet is a group of three in which nothing happens by itself: the checks are shown hand-made events.
func quiet(t *testing.T) *simulation {
	t.Helper()
	mixture := drawMixture(1)
	mixture.members = 3
	s := newSimulation(nil, Options{Seed: 1}, mixture)
	s.checks.newOperations(9)
	return s
}

// entry is operation o at op-number op of a view; equal arguments give equal hashes.
func entry(op core.OpNumber, view core.ViewNumber, o operation) core.Entry {
	return core.Entry{Op: op, View: view, Payload: o.payload(0), Hash: core.Hash(mix(mix(uint64(op), uint64(view)), uint64(o)))}
}

// store puts entries onto the disks of so many replicas.
func store(t *testing.T, s *simulation, replicas int, entries ...core.Entry) {
	t.Helper()
	for _, h := range s.hosts[:replicas] {
		h.disk.write(batch{entries: entries})
		require.NoError(t, h.disk.sync())
	}
}

func applyAt(s *simulation, h *host, entries ...core.Entry) {
	s.apply(h, entries)
}

// judgement is something that happens in a quiet group, and the claim that it breaks; "": none.
type judgement struct {
	name  string
	claim string
	act   func(t *testing.T, s *simulation)
}

func TestChecksOfWhatIsApplied(t *testing.T) {
	one, two := entry(1, 1, 1), entry(2, 1, 2)
	judge(t, []judgement{
		{"nothing", "", func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[0], one, two)
			applyAt(s, s.hosts[1], one, two)
		}},
		{"another operation at a committed op-number", claimCommitted, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			applyAt(s, s.hosts[1], entry(1, 2, 3))
		}},
		{"the same operation of another view", claimCommitted, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			applyAt(s, s.hosts[1], entry(1, 2, 1))
		}},
		{"another state at an equal op-number", claimState, func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[0], one, two)
			s.hosts[1].machine.state++
			applyAt(s, s.hosts[1], one)
		}},
		{"a gap", claimOrder, func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[0], two)
		}},
		{"an operation twice", claimOnce, func(t *testing.T, s *simulation) {
			again := entry(2, 1, 1)
			store(t, s, 2, one, again)
			applyAt(s, s.hosts[0], one, again)
		}},
		{"an operation that was refused", claimOnce, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			s.checks.refused(span{1, 1})
			applyAt(s, s.hosts[0], one)
		}},
		{"a refusal of what was applied", claimOnce, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			s.checks.refused(span{1, 1})
		}},
		{"an operation that nobody proposed", claimOnce, func(t *testing.T, s *simulation) {
			invented := entry(1, 1, 77)
			store(t, s, 2, invented)
			applyAt(s, s.hosts[0], invented)
		}},
		{"committed without a quorum", claimQuorum, func(t *testing.T, s *simulation) {
			store(t, s, 1, one)
			applyAt(s, s.hosts[0], one)
		}},
		{"committed with a quorum of which one has not synced", claimQuorum, func(t *testing.T, s *simulation) {
			store(t, s, 1, one)
			s.hosts[1].disk.write(batch{entries: []core.Entry{one}})
			applyAt(s, s.hosts[0], one)
		}},
	})
}

func TestChecksOfWhatIsTold(t *testing.T) {
	one := entry(1, 1, 1)
	judge(t, []judgement{
		{"an acknowledgement for another operation", claimAcknowledged, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			s.hosts[0].proposals = map[core.OpNumber]operation{1: 5}
			applyAt(s, s.hosts[0], one)
		}},
		{"an acknowledged operation missing in the end", claimAcknowledged, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			s.checks.finally(s.hosts[:2])
		}},
		{"a stale read", claimReads, func(t *testing.T, s *simulation) {
			s.checks.answered(s.hosts[0], core.Read{Token: 1, OK: true}, 1)
		}},
		{"a failed read", "", func(t *testing.T, s *simulation) {
			s.checks.answered(s.hosts[0], core.Read{Token: 1}, 1)
		}},
		{"a read after another one that saw more", claimReads, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			s.checks.answered(s.hosts[0], core.Read{Token: 1, OK: true}, 0)
			s.checks.answered(s.hosts[1], core.Read{Token: 2, OK: true}, s.checks.visible)
		}},
		{"an answer to a read that nobody asked for", claimReads, func(t *testing.T, s *simulation) {
			s.hosts[0].ready.Reads = []core.Read{{Token: 3}}
			s.answer(s.hosts[0])
		}},
	})
}

func TestChecksOfPrimariesAndCheckpoints(t *testing.T) {
	one := entry(1, 1, 1)
	judge(t, []judgement{
		{"two leaders of one view", claimPrimary, func(t *testing.T, s *simulation) {
			s.checks.leadership(s.hosts[0], &core.Leadership{Leading: true, View: 3})
			s.checks.leadership(s.hosts[1], &core.Leadership{Leading: true, View: 3})
		}},
		{"leaders of two views", "", func(t *testing.T, s *simulation) {
			s.checks.leadership(s.hosts[0], &core.Leadership{Leading: true, View: 3})
			s.checks.leadership(s.hosts[1], &core.Leadership{Leading: true, View: 4})
		}},
		{"leading without what is committed", claimLeads, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			s.checks.leadership(s.hosts[1], &core.Leadership{Leading: true, View: 2})
		}},
		{"a checkpoint of another state", claimState, func(t *testing.T, s *simulation) {
			store(t, s, 2, one)
			applyAt(s, s.hosts[0], one)
			from := s.hosts[0].machine.checkpoint()
			from.state++
			s.checks.installs(s.hosts[1], from)
		}},
		{"a checkpoint above what is committed", claimCommitted, func(t *testing.T, s *simulation) {
			s.checks.installs(s.hosts[1], checkpoint{meta: core.CheckpointMeta{Op: 4}})
		}},
	})
}

// judge lets each thing happen in a quiet group and compares the claim found broken.
func judge(t *testing.T, judgements []judgement) {
	t.Helper()
	for _, test := range judgements {
		t.Run(test.name, func(t *testing.T) {
			s := quiet(t)
			test.act(t, s)
			if test.claim == "" {
				require.Nil(t, s.checks.violation)
				return
			}
			require.NotNil(t, s.checks.violation, "nothing was noticed")
			require.Equal(t, test.claim, s.checks.violation.Claim, s.checks.violation.Detail)
		})
	}
}

// writeAt writes to the first replica's disk and syncs it.
func writeAt(s *simulation, b batch) {
	s.hosts[0].disk.write(b)
	if err := s.hosts[0].disk.sync(); err != nil {
		s.violated(claimDisk, "%v", err)
	}
}

func TestChecksOfDisks(t *testing.T) {
	one, two := entry(1, 1, 1), entry(2, 1, 2)
	judge(t, []judgement{
		{"two operations at one viewstamp", claimViewstamp, func(t *testing.T, s *simulation) {
			writeAt(s, batch{entries: []core.Entry{entry(1, 4, 1)}})
			s.hosts[1].disk.write(batch{entries: []core.Entry{entry(1, 4, 2)}})
			require.NoError(t, s.hosts[1].disk.sync())
		}},
		{"a lower view becomes durable", claimDurable, func(t *testing.T, s *simulation) {
			writeAt(s, batch{states: true, hardState: core.HardState{View: 4, LastNormalView: 1}})
			writeAt(s, batch{states: true, hardState: core.HardState{View: 3, LastNormalView: 1}})
		}},
		{"a lower commit-number becomes durable", claimDurable, func(t *testing.T, s *simulation) {
			writeAt(s, batch{states: true, hardState: core.HardState{View: 4, Commit: 3}})
			writeAt(s, batch{states: true, hardState: core.HardState{View: 4, Commit: 2}})
		}},
		{"a last-normal view above the view", claimDurable, func(t *testing.T, s *simulation) {
			writeAt(s, batch{states: true, hardState: core.HardState{View: 4, LastNormalView: 5}})
		}},
		{"a committed entry removed", claimKept, func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[0], one, two)
			writeAt(s, batch{truncate: true, truncateAbove: 1, entries: []core.Entry{entry(2, 2, 3)}})
		}},
		{"a committed entry removed that a group after its own has", "", func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[1], one, two)
			alone, pair := epochRecord{epoch: 1, op: 2, members: []core.ReplicaID{2}, lives: []uint64{0}}, epochRecord{epoch: 2, op: 3, members: []core.ReplicaID{2, 3}, lives: []uint64{0, 0}}
			s.checks.epochs = append(s.checks.epochs, alone, pair)
			writeAt(s, batch{truncate: true, truncateAbove: 1})
		}},
		{"a committed entry removed that only one of the group after its own has", claimKept, func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[1], one, two)
			s.checks.epochs = append(s.checks.epochs, epochRecord{epoch: 1, op: 2, members: []core.ReplicaID{2, 3}, lives: []uint64{0, 0}})
			writeAt(s, batch{truncate: true, truncateAbove: 1})
		}},
		{"a committed entry replaced by itself", "", func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[0], one, two)
			writeAt(s, batch{truncate: true, truncateAbove: 0, entries: []core.Entry{one, two}})
		}},
		{"an uncommitted entry removed", "", func(t *testing.T, s *simulation) {
			store(t, s, 2, one, two)
			applyAt(s, s.hosts[0], one)
			writeAt(s, batch{truncate: true, truncateAbove: 1})
		}},
		{"a gap on the disk", claimDisk, func(t *testing.T, s *simulation) {
			writeAt(s, batch{entries: []core.Entry{one}})
			writeAt(s, batch{entries: []core.Entry{entry(3, 1, 3)}})
		}},
		{"a committed entry removed while a quorum has it", "", func(t *testing.T, s *simulation) {
			store(t, s, 3, one, two)
			applyAt(s, s.hosts[0], one, two)
			writeAt(s, batch{truncate: true, truncateAbove: 1, entries: []core.Entry{entry(2, 2, 3)}})
		}},
	})
}

func TestChecksOfMessages(t *testing.T) {
	one, two := entry(1, 1, 1), entry(2, 1, 2)
	send := func(s *simulation, m core.Message) {
		m.From, m.To = 1, 2
		s.checks.sent(s.hosts[0], &m)
	}
	judge(t, []judgement{
		{"a STARTVIEWCHANGE of a view that is not durable", claimPromise, func(_ *testing.T, s *simulation) {
			send(s, core.Message{Kind: core.KindStartViewChange, View: 2})
		}},
		{"a DOVIEWCHANGE of a last-normal view that is not durable", claimPromise, func(_ *testing.T, s *simulation) {
			writeAt(s, batch{states: true, hardState: core.HardState{View: 2, LastNormalView: 1}})
			send(s, core.Message{Kind: core.KindDoViewChange, View: 2, LastNormalView: 2})
		}},
		{"a PREPAREOK for what is only written", claimPromise, func(_ *testing.T, s *simulation) {
			writeAt(s, batch{states: true, hardState: core.HardState{View: 1}, entries: []core.Entry{one}})
			s.hosts[0].disk.write(batch{entries: []core.Entry{two}})
			send(s, core.Message{Kind: core.KindPrepareOK, View: 1, Op: 2})
		}},
		{"a PREPAREOK for what is durable", "", func(_ *testing.T, s *simulation) {
			writeAt(s, batch{states: true, hardState: core.HardState{View: 1}, entries: []core.Entry{one, two}})
			send(s, core.Message{Kind: core.KindPrepareOK, View: 1, Op: 2})
		}},
		{"a PREPARE by a backup", claimPrimary, func(_ *testing.T, s *simulation) {
			s.checks.primaries[reign{0, 2}] = 3
			send(s, core.Message{Kind: core.KindPrepare, View: 2})
		}},
		{"a message in another's name", claimReady, func(_ *testing.T, s *simulation) {
			s.checks.sent(s.hosts[0], &core.Message{Kind: core.KindProbe, From: 2, To: 3})
		}},
		{"a message to nobody", claimReady, func(_ *testing.T, s *simulation) {
			s.checks.sent(s.hosts[0], &core.Message{Kind: core.KindProbe, From: 1, To: 4})
		}},
		{"a message of no kind", claimReady, func(_ *testing.T, s *simulation) {
			send(s, core.Message{})
		}},
	})
}

// lossyGroup is quiet in async, with a third replica that has lost something and recovers.
func lossyGroup(t *testing.T) (s *simulation, recovering *host) {
	t.Helper()
	drawn := drawMixture(1)
	drawn.drawDurability(1, ChoiceAsync)
	drawn.members = 3
	s = newSimulation(nil, Options{Seed: 1}, drawn)
	s.checks.newOperations(9)
	recovering = s.hosts[2]
	recovering.disk.write(batch{states: true, hardState: core.HardState{View: 1, LastNormalView: 1}})
	require.NoError(t, recovering.disk.sync())
	s.boot(recovering)
	s.crash(recovering, false)
	s.boot(recovering)
	require.Equal(t, core.StatusRecovering, recovering.status.Status)
	return s, recovering
}

func TestChecksOfRecovery(t *testing.T) {
	one := entry(1, 1, 1)
	for _, test := range []struct {
		name, claim string
		act         func(s *simulation, h *host)
	}{
		{"RECOVERY", "", func(s *simulation, h *host) {
			s.checks.sent(h, &core.Message{Kind: core.KindRecovery, From: 3, To: 1, View: 1, First: 1})
		}},
		{"a PREPAREOK by who recovers", claimNoPart, func(s *simulation, h *host) {
			s.checks.sent(h, &core.Message{Kind: core.KindPrepareOK, From: 3, To: 1, View: 1})
		}},
		{"a STARTVIEWCHANGE by who recovers", claimNoPart, func(s *simulation, h *host) {
			s.checks.sent(h, &core.Message{Kind: core.KindStartViewChange, From: 3, To: 1, View: 1})
		}},
		{"a RECOVERYRESPONSE of a view that may be lost", claimPromise, func(s *simulation, _ *host) {
			s.hosts[0].disk.write(batch{states: true, hardState: core.HardState{View: 2, LastNormalView: 2}})
			s.checks.sent(s.hosts[0], &core.Message{Kind: core.KindRecoveryResponse, From: 1, To: 3, View: 2, LastNormalView: 2})
		}},
		{"recovered by one answer", claimAnswered, func(s *simulation, h *host) {
			s.coverSent(s.hosts[0], &core.Message{Kind: core.KindRecoveryResponse, To: 3, Nonce: h.lastNonce})
			s.coverSent(s.hosts[1], &core.Message{Kind: core.KindRecoveryResponse, To: 3, Nonce: h.lastNonce + 1})
			h.status.Status = core.StatusNormal
			s.recovered(h)
		}},
		{"recovered by two", "", func(s *simulation, h *host) {
			s.coverSent(s.hosts[0], &core.Message{Kind: core.KindRecoveryResponse, To: 3, Nonce: h.lastNonce})
			s.coverSent(s.hosts[1], &core.Message{Kind: core.KindRecoveryResponse, To: 3, Nonce: h.lastNonce})
			h.status.Status = core.StatusNormal
			s.recovered(h)
		}},
		{"committed by one and one that may have had it", "", func(s *simulation, _ *host) {
			s.hosts[0].disk.write(batch{entries: []core.Entry{one}})
			applyAt(s, s.hosts[0], one)
		}},
		{"committed only by one that may have had it", claimQuorum, func(s *simulation, _ *host) {
			applyAt(s, s.hosts[0], one)
		}},
		{"a commit while too many recover", claimStopped, func(s *simulation, _ *host) {
			s.hosts[1].lossy = true
			s.liveness.doomed, s.liveness.atRest = true, 0
			s.checks.committed = make([]commitRecord, 1)
			s.stayStopped()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, h := lossyGroup(t)
			require.Nil(t, s.checks.violation)
			test.act(s, h)
			if test.claim == "" {
				require.Nil(t, s.checks.violation)
				return
			}
			require.NotNil(t, s.checks.violation, "nothing was noticed")
			require.Equal(t, test.claim, s.checks.violation.Claim, s.checks.violation.Detail)
		})
	}
}

// A crash that the durability does not survive is no crash: the process ends cleanly.
func TestCrashesAreKeptWithinF(t *testing.T) {
	s, _ := lossyGroup(t)
	second := s.hosts[0]
	second.disk.write(batch{states: true, hardState: core.HardState{View: 1, LastNormalView: 1}, entries: entriesOf(1)})
	second.disk.end()
	s.boot(second)
	require.Equal(t, core.StatusNormal, second.status.Status)
	require.False(t, second.disk.clean)
	require.True(t, s.crash(second, false))
	require.True(t, second.disk.clean)
	require.False(t, second.lossy)
	require.EqualValues(t, 1, second.disk.durableTo())

	s.options.BeyondF = true
	s.boot(second)
	require.True(t, s.crash(second, false))
	require.True(t, second.lossy)
}
