package core

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStep: whatever other members send, and whenever the process restarts, a replica refuses or takes it. It
// does not panic, executes one operation after the other and none twice, and takes no promise back. It may stop,
// since what it is told may contradict itself.
func FuzzStep(f *testing.F) {
	f.Add([]byte{1, 2, 1, 1, 1, 1, 0, 0, 1, 1}, uint8(0))
	f.Add([]byte{7, 2, 4, 1, 1, 1, 9, 0, 1, 1, 9, 2, 4, 1, 1, 1, 9, 1, 0, 2}, uint8(1))
	f.Add([]byte{7, 2, 1, 4, 4, 0, 0, 0, 4, 3, 9, 3, 2, 5, 255, 1, 0, 1, 6, 3, 3, 2, 255, 255, 255, 255, 255, 255, 32, 9}, uint8(0))
	f.Add([]byte{2, 1, 1, 0, 0, 0, 0, 0, 64, 0, 2, 1, 1, 1, 0, 0, 0, 0, 128, 0, 4, 3, 1, 1, 0, 0, 1, 0, 0, 0}, uint8(1))
	f.Add([]byte{13, 2, 1, 2, 1, 1, 0, 1, 3, 0, 13, 3, 1, 0, 0, 1, 0, 1, 3, 0, 9, 2, 1, 2, 1, 0, 0, 1, 6, 4, 12, 3, 4, 0, 0, 0, 9, 1, 0, 0}, uint8(3))
	// Replica 3 answers the round of a handover that was asked for before, and the view is left.
	f.Add([]byte{4, 3, 1, 0, 0, 0, 1, 0, 96, 3, 7, 3, 2, 0, 0, 1, 0, 0, 0, 0}, uint8(1))
	// A RECONFIGURATION is proposed, committed and left; a newcomer learns into its epoch; one hears of an epoch.
	f.Add([]byte{17, 3, 1, 1, 0, 0, 0, 0, 0, 0, 2, 1, 1, 0, 0, 0, 0, 0, 144, 2, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0}, uint8(1))
	f.Add([]byte{17, 3, 1, 3, 3, 0, 0, 0, 6, 131, 14, 18, 2, 0, 0, 0, 0, 0, 1, 131}, uint8(6))
	f.Add([]byte{14, 18, 2, 0, 0, 0, 0, 0, 1, 131, 17, 18, 2, 3, 3, 0, 0, 0, 6, 131, 1, 18, 2, 4, 3, 0, 0, 3, 4, 129}, uint8(0))
	// A newcomer is taught more than its teacher says is committed, and restarts.
	f.Add([]byte{17, 2, 127, 0, 0, 0, 0, 0, 6, 131, 1, 2, 1, 0, 0, 0, 0, 0, 80, 0}, uint8(6))
	f.Fuzz(func(t *testing.T, script []byte, role uint8) {
		b := newBench(t, 1+ReplicaID(role%3), Restored{})
		if role%3 == 1 {
			b = primary2(t)
		}
		if role%6 >= 3 { // it has lost something
			b.log = entries("a", 1, 1)
			b.hard = HardState{View: 1, LastNormalView: 1, Commit: OpNumber(role / 6 % 3)}
			b.restart(Restored{HardState: b.hard, Entries: b.log, Recover: true})
			b.act()
		}
		switch role % 7 {
		case 5:
			b = wiped3(t, Restored{})
		case 6:
			b = newcomer4(t, Restored{})
		}
		ended, next := epochLog(membersOf(1, 3, 4), []ReplicaID{1, 2, 3}, 2)
		other, _ := epochLog(raised3(1), []ReplicaID{1, 2, 3}, 3)
		logs := [4][]Entry{entries("a", 1, 1, 2, 2, 3), entries("b", 1, 2, 2, 3, 3), ended, other}
		for ; len(script) >= 10; script = script[10:] {
			fuzzAct(b, script)
			m := fuzzMessage(b, script, logs[script[9]>>6])
			if script[8]&1 == 1 && m.Kind == KindStartEpoch {
				m.Membership = next.Encode()
			}
			before := b.Status()
			err := b.Step(m)
			if errors.Is(err, ErrRefused) {
				require.Equal(t, before, b.Status(), "a refused message has an effect")
			}
			b.act()
			fuzzCheck(b, before)
		}
	})
}

// fuzzAct lets something else happen before the message: a tick, a restart, a proposal, a read, a handover.
func fuzzAct(b *bench, script []byte) {
	switch script[8] >> 4 {
	case 1:
		b.Tick()
	case 2, 5:
		// The only member of its group is not started again when it has lost something.
		lost := script[8]>>4 == 5 && len(b.others) > 0
		b.restart(Restored{HardState: b.hard, Entries: b.log, Recover: lost})
		b.committed = nil
	case 3:
		b.ticks(int(script[9]))
	case 4:
		_, _ = b.Propose(b.Status().View, [][]byte{script[:3]})
	case 6:
		_ = b.HandOver(ReplicaID(script[9] % 5))
	case 7:
		b.CancelHandover()
	case 8:
		_ = b.ReadBarrier(b.Status().View, uint64(script[9]))
	case 11:
		b.SetTime(b.leasing.now + uint64(script[9]))
		_ = b.ReadStale(b.leasing.now<<8, uint64(script[8]))
		b.SetTime(b.leasing.now + 1) // each has a token of its own
	case 9:
		_, _ = b.Reconfigure(membersOf([][]ReplicaID{{1, 2}, {1, 3}, {2}, {1, 2, 3, 4}, {1, 3, 4}}[script[9]%5]...), false)
	case 10:
		_, _ = b.Reconfigure(raised3(uint64(script[9]%4)), false)
	}
}

// fuzzMessage makes a message that is likely to be read further than to its first wrong field.
func fuzzMessage(b *bench, script []byte, log []Entry) Message {
	number := func(at int) uint64 {
		if script[at] >= 250 {
			return math.MaxUint64 >> (2 * (255 - script[at]))
		}
		return uint64(script[at])
	}
	m := Message{
		Kind: Kind(script[0] % 19), Epoch: EpochNumber(script[1] >> 4 % 4), From: ReplicaID(script[1] & 15 % 5), Incarnation: uint64(script[1] >> 6), To: b.config.Self, View: ViewNumber(number(2)), Op: OpNumber(number(3)),
		Commit: OpNumber(number(4)), LastNormalView: ViewNumber(number(5)), Nonce: number(6), Round: number(6),
		First: OpNumber(number(7)), Stamp: number(7), Agree: script[8]&1 == 1,
	}
	if b.transfer != nil && script[8]&2 == 2 {
		m.Nonce = b.transfer.nonce
	}
	if b.recovery != nil && script[8]&2 == 2 && m.Kind == KindRecoveryResponse {
		m.Nonce, m.LastNormalView = b.recovery.nonce, m.View
	}
	if l := b.learning; l != nil && script[8]&2 == 2 && m.Kind == KindNewCommitted {
		m.From, m.Nonce = l.from, l.nonce
	}
	if first, count := min(int(script[7]%5), len(log)), int(script[9]%5); script[8]&4 == 4 {
		m.Entries = log[first:min(first+count, len(log))]
		m.First, m.PreviousHash = OpNumber(first+1), hashOf(log, OpNumber(first))
		m.Op, m.Hash = OpNumber(len(log)), hashOf(log, OpNumber(len(log)))
	}
	if script[8]&8 == 8 {
		m.Checkpoint = CheckpointMeta{Op: OpNumber(number(9)), View: 1, Hash: hashOf(log, OpNumber(min(int(script[9]%5), len(log))))}
	}
	return m
}

func fuzzCheck(b *bench, before ReplicaStatus) {
	b.Helper()
	status := b.Status()
	for i := range b.committed {
		require.Equal(b, OpNumber(i+1), b.committed[i].Op)
	}
	if b.Failure() != nil {
		require.ErrorIs(b, b.Step(Message{}), ErrStopped)
		require.Equal(b, StatusStopped, status.Status)
		return
	}
	require.LessOrEqual(b, status.Commit, status.Op)
	require.LessOrEqual(b, before.Epoch, status.Epoch)
	require.True(b, before.Epoch < status.Epoch || before.View <= status.View)
	require.LessOrEqual(b, before.Commit, status.Commit)
	require.True(b, status.Successor == 0 || status.HandingOver && !status.Leading)
	require.Equal(b, status.View, b.hard.View, "the view is durable")
	if durable, err := b.hard.Membership.Decode(); status.Epoch > 0 {
		require.NoError(b, err)
		require.Equal(b, status.Epoch, durable.Epoch, "and so is the epoch")
	}
	require.Len(b, b.log, int(status.Op), "and so is the log")
}
