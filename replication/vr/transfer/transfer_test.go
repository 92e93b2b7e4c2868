package transfer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

func meta(op core.OpNumber) core.CheckpointMeta {
	return core.CheckpointMeta{Op: op, View: 1, Hash: core.Hash(op) * 7}
}

func identity(op core.OpNumber) Identity {
	return Identity{Meta: meta(op), Digest: DigestOf([]uint32{uint32(op)})}
}

func fetchOf(op core.OpNumber) *Fetch {
	return NewFetch(core.FetchCheckpoint{From: 2, Meta: meta(op)}, []core.ReplicaID{2, 3, 4}, 0)
}

// A fetch of which nothing has come is given up at once: the core asks again, and somebody else.
func TestNothingHasCome(t *testing.T) {
	f := fetchOf(10)
	require.Equal(t, Request{To: 2, AtLeast: 10}, f.Request())
	require.Equal(t, NextGiveUp, f.Missed(false, 0, 0))

	f = fetchOf(10)
	begins, err := f.Agree(identity(10), 30)
	require.NoError(t, err)
	require.True(t, begins)
	require.Equal(t, NextGiveUp, f.Missed(false, 0, 0), "a header is nothing")
}

// Who gives nothing three times, one after the other, is not asked a fourth time.
func TestAttemptsInVain(t *testing.T) {
	f := fetchOf(10)
	_, err := f.Agree(identity(11), 30)
	require.NoError(t, err)
	require.Equal(t, NextAgain, f.Missed(false, 0, 1))
	require.Equal(t, Request{To: 2, Resume: true, Identity: identity(11), AtLeast: 10}, f.Request())
	require.Equal(t, NextAgain, f.Missed(false, 1, 1))
	require.Equal(t, NextAgain, f.Missed(false, 1, 1))
	require.Equal(t, NextAgain, f.Missed(false, 1, 2), "it gave something")
	require.Equal(t, NextAgain, f.Missed(false, 2, 2))
	require.Equal(t, NextAgain, f.Missed(false, 2, 2))
	require.Equal(t, NextGiveUp, f.Missed(false, 2, 2))
}

// When the checkpoint is gone, each other one may have it; in the end the one that was named gives what it has.
func TestGoneCheckpoint(t *testing.T) {
	f := fetchOf(10)
	require.False(t, f.GoOn(identity(9), 9), "it is not above what is applied")
	require.True(t, f.GoOn(identity(9), 8))
	require.Equal(t, NextElsewhere, f.Missed(true, 2, 2))
	require.Equal(t, core.ReplicaID(3), f.Request().To)
	require.Equal(t, identity(9), f.Request().Identity)
	require.Equal(t, NextAgain, f.Missed(false, 2, 3), "it gave something")
	require.Equal(t, NextElsewhere, f.Missed(false, 3, 3), "it gives nothing more")
	require.Equal(t, core.ReplicaID(4), f.From())
	require.Equal(t, NextAnew, f.Missed(true, 3, 3))
	require.Equal(t, Request{To: 2, AtLeast: 10}, f.Request())
	_, known := f.Identity()
	require.False(t, known)
}

func TestWhatIsAgreedTo(t *testing.T) {
	other := identity(12)
	other.Digest[0]++
	contradicts := identity(10)
	contradicts.Meta.Hash++
	for _, test := range []struct {
		name   string
		left   bool // a part of checkpoint 12 is here
		found  Identity
		begins bool
		fails  bool
	}{
		{"what was wanted", false, identity(10), true, false},
		{"a newer one", false, identity(11), true, false},
		{"an older one", false, identity(9), false, true},
		{"another of the same operation", false, contradicts, false, true},
		{"the one that is here", true, identity(12), false, false},
		{"the same state in other bytes", true, other, false, true},
		{"a newer one than that which is here", true, identity(13), false, true},
	} {
		f := fetchOf(10)
		require.True(t, !test.left || f.GoOn(identity(12), 5))
		begins, err := f.Agree(test.found, 30)
		require.Equal(t, test.fails, err != nil, test.name)
		require.Equal(t, test.begins, begins, test.name)
	}
	f := fetchOf(10)
	_, err := f.Agree(identity(10), 30)
	require.NoError(t, err)
	require.NoError(t, f.More(29))
	require.ErrorIs(t, f.More(30), ErrChunk)
	require.ErrorIs(t, f.End(29), ErrChunk)
	require.NoError(t, f.End(30))
}

func TestChunks(t *testing.T) {
	good := func(index uint32, data string) Chunk {
		return Chunk{Index: uint64(index), Checksum: Checksum(index, []byte(data)), Data: []byte(data)}
	}
	damaged := good(1, "abcd")
	damaged.Data = []byte("abce")
	at := func(chunks, bytes uint64) Received {
		return Received{Chunks: chunks, Bytes: bytes, ChunkBytes: 4, ChunksMax: 3}
	}
	for _, test := range []struct {
		name  string
		here  Received
		chunk Chunk
		fails bool
	}{
		{"the first", at(0, 0), good(0, "abcd"), false},
		{"the next", at(1, 4), good(1, "abcd"), false},
		{"a short one", at(1, 4), good(1, "a"), false},
		{"one that was here already", at(2, 8), good(1, "abcd"), true},
		{"one too far", at(0, 0), good(1, "abcd"), true},
		{"an empty one", at(1, 4), good(1, ""), true},
		{"one too long", at(1, 4), good(1, "abcde"), true},
		{"one after a short one", at(2, 5), good(2, "abcd"), true},
		{"one too many", at(4, 16), good(4, "abcd"), true},
		{"one that was altered", at(1, 4), damaged, true},
		{"the bytes of another", at(2, 8), Chunk{Index: 2, Checksum: Checksum(1, []byte("abcd")), Data: []byte("abcd")}, true},
	} {
		err := test.here.Check(test.chunk, 0)
		require.Equal(t, test.fails, err != nil, test.name)
		if test.fails {
			require.ErrorIs(t, err, ErrChunk, test.name)
		}
	}
	require.NoError(t, at(1, 4).Check(damaged, omit.Of(RuleChunkChecksum)), "that is what the rule is for")
	wanted := identity(5)
	require.NoError(t, at(1, 4).Whole(&wanted, wanted.Digest, 0))
	require.ErrorIs(t, at(1, 4).Whole(&wanted, DigestOf([]uint32{4}), 0), ErrChunk)
	require.NoError(t, at(1, 4).Whole(&wanted, DigestOf([]uint32{4}), omit.Of(RuleSameCheckpoint)))
}

// A checkpoint stays for its readers while newer ones take its place, so many of them and no more.
func TestAHeldCheckpointIsKeptForAWhile(t *testing.T) {
	h := NewHolding(2, 0)
	number, release, again, err := h.Add(identity(10))
	require.NoError(t, err)
	require.False(t, again)
	require.Zero(t, release)
	least, released := h.Replaced(20)
	require.EqualValues(t, 10, least)
	require.Empty(t, released)
	require.Equal(t, number, h.Resume(identity(10)), "a second reader")
	require.Zero(t, h.Resume(identity(20)))
	least, _ = h.Replaced(30)
	require.EqualValues(t, 10, least)
	require.True(t, h.Holds(number))
	least, released = h.Replaced(40)
	require.Zero(t, least)
	require.Equal(t, []uint64{number}, released)
	require.False(t, h.Holds(number))
	require.False(t, h.Leave(number), "it is gone, and is not let go once more")

	h = NewHolding(2, omit.Of(RuleHeldLog))
	_, _, _, err = h.Add(identity(10))
	require.NoError(t, err)
	least, _ = h.Replaced(20)
	require.Zero(t, least, "that is what the rule is for")
}

func TestPlacesToHold(t *testing.T) {
	h := NewHolding(4, 0)
	first, _, _, err := h.Add(identity(10))
	require.NoError(t, err)
	same, _, again, err := h.Add(identity(10))
	require.NoError(t, err)
	require.True(t, again)
	require.Equal(t, first, same)
	second, _, _, err := h.Add(identity(20))
	require.NoError(t, err)
	_, release, _, err := h.Add(identity(30))
	require.ErrorIs(t, err, ErrBusy)
	require.Zero(t, release)
	require.False(t, h.Leave(first), "one reader is left")
	require.True(t, h.Leave(first))
	third, release, _, err := h.Add(identity(30))
	require.NoError(t, err)
	require.Equal(t, first, release, "nobody reads it")
	require.False(t, h.Expire(third), "it is read")
	require.True(t, h.Leave(second))
	require.True(t, h.Expire(second))
	require.False(t, h.Expire(second))
	require.Equal(t, 1, h.Count())

	h.Drop(third)
	renewed, _, again, err := h.Add(identity(30))
	require.NoError(t, err)
	require.False(t, again)
	require.NotEqual(t, third, renewed)
	require.False(t, h.Leave(third), "a reader of the one that was dropped says nothing about the other")
	require.True(t, h.Holds(renewed))
	require.Equal(t, []uint64{renewed}, h.Close())
	_, _, _, err = h.Add(identity(40))
	require.ErrorIs(t, err, ErrBusy)
}

func TestAnswers(t *testing.T) {
	h, newest := NewHolding(1, 0), identity(20)
	require.NoError(t, h.Answers(&Request{AtLeast: 20}, &newest))
	require.ErrorIs(t, h.Answers(&Request{AtLeast: 21}, &newest), ErrTooOld)
	require.NoError(t, h.Answers(&Request{Resume: true, Identity: newest, AtLeast: 21}, &newest))
	require.ErrorIs(t, h.Answers(&Request{Resume: true, Identity: identity(19)}, &newest), ErrGone)
}
