package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStep: whatever other members send, the replica refuses it or takes it, and does not panic.
func FuzzStep(f *testing.F) {
	f.Add([]byte{1, 2, 1, 1, 1, 1, 0, 0, 1, 1}, uint8(0))
	f.Add([]byte{7, 2, 4, 1, 1, 1, 9, 0, 1, 1, 9, 2, 4, 1, 1, 1, 9, 1, 0, 2}, uint8(1))
	f.Fuzz(func(t *testing.T, script []byte, role uint8) {
		b := newBench(t, 1+ReplicaID(role%3), Restored{})
		if role%3 == 1 {
			b = primary2(t)
		}
		log := entries("a", 1, 1, 2, 2)
		for ; len(script) >= 10; script = script[10:] {
			m := Message{
				Kind: Kind(script[0] % 13), From: ReplicaID(script[1] % 5), To: b.config.Self, View: ViewNumber(script[2]), Op: OpNumber(script[3]),
				Commit: OpNumber(script[4]), LastNormalView: ViewNumber(script[5]), Nonce: uint64(script[6]), Round: uint64(script[6]),
				First: OpNumber(script[7]), Agree: script[8]&1 == 1,
			}
			if b.transfer != nil && script[8]&2 == 2 {
				m.Nonce = b.transfer.nonce
			}
			if first, count := int(script[7]%4), int(script[9]%4); script[8]&4 == 4 {
				m.Entries = log[first:min(first+count, len(log))]
				m.First, m.PreviousHash = OpNumber(first+1), hashOf(log, OpNumber(first))
				m.Hash = hashOf(log, 4)
			}
			if script[8]&8 == 8 {
				m.Checkpoint = CheckpointMeta{Op: OpNumber(script[9]), View: 1, Hash: hashOf(log, OpNumber(script[9]%5))}
			}
			if script[8]&16 == 16 {
				b.Tick()
			}
			_ = b.Step(m)
			b.act()
			status := b.Status()
			require.LessOrEqual(t, status.Commit, status.Op)
		}
	})
}
