package storage

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// neverByItself is a delayed storage without its background.
func neverByItself(t *testing.T, directory string) *delayed {
	t.Helper()
	storage := openedIn(t, directory, DurabilityAsync).(*delayed)
	storage.timer = time.AfterFunc(time.Hour, func() {})
	loaded(t, storage)
	return storage
}

// TestAKillLeavesAnEarlierState: whatever was written to an async log, a kill leaves exactly one of the states that
// it was in, none older than the last promise.
func TestAKillLeavesAnEarlierState(t *testing.T) { eachLog(t, testAKillLeavesAnEarlierState) }

func testAKillLeavesAnEarlierState(t *testing.T, log Log) {
	random := rand.New(rand.NewPCG(21, 22))
	directory := created(t, log)
	storage, twin := neverByItself(t, directory), NewMemory()
	states := []vr.Loaded{loaded(t, twin)}
	promised, lost, kept := 0, 0, 0
	var commit core.OpNumber
	for step := 1; step <= 250; step++ {
		batch := randomBatch(random, twin, step, &commit)
		batch.Sync = random.IntN(8) == 0
		checkpointed := batch.TruncateBelow > 0
		if checkpointed {
			meta := core.CheckpointMeta{Op: commit, Hash: hashAt(twin, commit)}
			writeCheckpoint(t, storage, meta, nil)
			writeCheckpoint(t, twin, meta, nil)
		}
		before := loaded(t, twin).HardState
		require.NoError(t, storage.Write(batch), "step %d", step)
		require.NoError(t, twin.Write(batch), "step %d", step)
		states = append(states, loaded(t, twin))
		if batch.Sync || step == 1 || batch.HardState != nil && batch.HardState.View != before.View {
			promised = step
		}
		if random.IntN(20) == 0 {
			require.NoError(t, storage.flush())
			promised = step
		}
		got := normal(killed(t, directory, DurabilityAsync))
		found := latestOf(states, got)
		require.GreaterOrEqual(t, found, promised, "step %d", step)
		if found < step {
			lost++
		} else {
			kept++
		}
	}
	t.Logf("%d kills lost something, %d nothing", lost, kept)
	require.Greater(t, lost, 50)
	require.Greater(t, kept, 50)
	require.NoError(t, storage.MarkClean())
	require.NoError(t, storage.Close())
	got := killed(t, directory, DurabilityAsync)
	require.True(t, got.Clean)
	require.Equal(t, len(states)-1, latestOf(states, normal(got)), "a clean end loses nothing")
}

// latestOf is the last state that equals got; -1 when none does. Checkpoints are durable beside the log, and the disk
// may keep more of the old entries.
func latestOf(states []vr.Loaded, got vr.Loaded) int {
	for n := len(states) - 1; n >= 0; n-- {
		want := states[n]
		if want.HardState == got.HardState && sameSuffix(want.Entries, got.Entries) {
			return n
		}
	}
	return -1
}

func sameSuffix(want, got []core.Entry) bool {
	if len(want) == 0 || len(got) < len(want) {
		return len(got) == len(want)
	}
	got = got[len(got)-len(want):]
	for i := range want {
		if want[i].Op != got[i].Op || want[i].Hash != got[i].Hash || want[i].Kind != got[i].Kind {
			return false
		}
	}
	return true
}

func hashAt(memory *Memory, op core.OpNumber) core.Hash {
	held := memory.held()
	if op == held.extent.base {
		return held.extent.baseHash
	}
	return held.entries[op-held.extent.base-1].Hash
}

// randomBatch is one that joins what the twin holds, with a new view now and then. When it removes old entries there
// must be a checkpoint at commit before it.
func randomBatch(random *rand.Rand, twin *Memory, step int, commit *core.OpNumber) vr.Batch {
	held := twin.held()
	batch, last := vr.Batch{}, held.extent.last
	if random.IntN(4) == 0 && last > held.extent.base {
		batch.Truncate = true
		batch.TruncateAbove = max(*commit, last-min(last, core.OpNumber(random.IntN(10))), held.extent.base)
		last = min(last, batch.TruncateAbove)
	}
	if random.IntN(5) == 0 && *commit > held.extent.base {
		batch.TruncateBelow = *commit - core.OpNumber(random.IntN(int(*commit-held.extent.base)))
	}
	if !batch.Truncate || last > 0 {
		batch.Entries = chain(hashAt(twin, last), last+1, last+core.OpNumber(random.IntN(6)), core.ViewNumber(step), random.IntN(400))
		if step%7 == 0 {
			batch.Entries = reconfigured(hashAt(twin, last), batch.Entries)
		}
	}
	if batch.TruncateBelow == 0 && random.IntN(2) == 0 {
		end := last + core.OpNumber(len(batch.Entries))
		*commit = max(*commit, end-min(end, core.OpNumber(random.IntN(5))))
		batch.HardState = &core.HardState{
			View: core.ViewNumber(1 + step/20), LastNormalView: core.ViewNumber(1 + step/20), Commit: *commit, Membership: membershipOf(step / 30),
		}
	}
	return batch
}

// TestWhatWaitsIsWrittenInTime: within flushInterval, though nothing else is written.
func TestWhatWaitsIsWrittenInTime(t *testing.T) { eachLog(t, testWhatWaitsIsWrittenInTime) }

func testWhatWaitsIsWrittenInTime(t *testing.T, log Log) {
	directory := created(t, log)
	synctest.Test(t, func(t *testing.T) {
		storage := openedIn(t, directory, DurabilityAsync)
		loaded(t, storage)
		entries := chain(0, 1, 20, 1, 10)
		require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
		before := storage.Syncs()
		for i := range entries {
			require.NoError(t, storage.Write(vr.Batch{Entries: entries[i : i+1]}))
		}
		time.Sleep(flushInterval - time.Millisecond)
		synctest.Wait()
		require.Equal(t, before, storage.Syncs())
		require.Empty(t, killed(t, directory, DurabilityAsync).Entries)
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		before += oneStep(log)
		require.Equal(t, before, storage.Syncs(), "twenty batches are one step")
		require.Equal(t, entries, killed(t, directory, DurabilityAsync).Entries)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, before, storage.Syncs(), "nothing waits, nothing is written")
		hint := core.HardState{View: 1, Commit: 9}
		require.NoError(t, storage.Write(vr.Batch{HardState: &hint}))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, before, storage.Syncs(), "a hint alone is not worth an fsync")
		require.NoError(t, storage.Close())
		require.Equal(t, hint, killed(t, directory, DurabilityAsync).HardState)
	})
}

// TestWhatWaitsIsBounded: much of it is written at once in the background, and when that does not keep up, by Write.
func TestWhatWaitsIsBounded(t *testing.T) { eachLog(t, testWhatWaitsIsBounded) }

func testWhatWaitsIsBounded(t *testing.T, log Log) {
	large := chain(0, 1, 30, 1, 1<<20)
	synctest.Test(t, func(t *testing.T) {
		storage := openedIn(t, created(t, log), DurabilityAsync)
		loaded(t, storage)
		require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
		before := storage.Syncs()
		require.NoError(t, storage.Write(vr.Batch{Entries: large[:4]}))
		synctest.Wait()
		require.Equal(t, before+oneStep(log), storage.Syncs(), "without time passing")
		require.NoError(t, storage.Close())
	})
	storage := neverByItself(t, created(t, log))
	require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 1}, Sync: true}))
	before := storage.Syncs()
	for i := range large {
		require.NoError(t, storage.Write(vr.Batch{Entries: large[i : i+1]}))
		require.Less(t, storage.bytes, delayedBytesMax)
		if i < 15 {
			require.Equal(t, before, storage.Syncs())
		}
	}
	require.Equal(t, before+oneStep(log), storage.Syncs())
}

// oneStep is how many fsyncs the first entries cost: a transaction, and with LogWAL a segment.
func oneStep(log Log) uint64 { return map[Log]uint64{LogBolt: 2, LogWAL: 4}[log] }

// TestABackgroundFailureIsTold by the next call, and no mark is left.
func TestABackgroundFailureIsTold(t *testing.T) { eachLog(t, testABackgroundFailureIsTold) }

func testABackgroundFailureIsTold(t *testing.T, log Log) {
	directory := created(t, log)
	storage, err := Open(directory, Options{Durability: DurabilityAsync, segments: small()})
	require.NoError(t, err)
	loaded(t, storage)
	entries := chain(0, 1, 2, 1, 10)
	require.NoError(t, storage.Write(vr.Batch{Entries: entries[:1], Sync: true}))
	require.NoError(t, storage.Write(vr.Batch{Entries: entries[1:]}))
	goAway(t, storage.(*delayed).Disk)
	require.Error(t, storage.(*delayed).flush())
	require.ErrorIs(t, storage.Write(vr.Batch{}), ErrFailed)
	require.ErrorIs(t, storage.MarkClean(), ErrFailed)
	require.NoError(t, storage.Close())
	require.NoError(t, storage.Close())
	require.ErrorIs(t, storage.Write(vr.Batch{}), ErrClosed)
	got := killed(t, directory, DurabilityAsync)
	require.False(t, got.Clean)
	require.Equal(t, entries[:1], got.Entries)
}

// TestAGapThatWaitedIsFinal: its caller was told that it was kept.
func TestAGapThatWaitedIsFinal(t *testing.T) { eachLog(t, testAGapThatWaitedIsFinal) }

func testAGapThatWaitedIsFinal(t *testing.T, log Log) {
	storage := neverByItself(t, created(t, log))
	entries := chain(0, 1, 9, 1, 10)
	require.NoError(t, storage.Write(vr.Batch{Entries: entries[:1], Sync: true}))
	require.NoError(t, storage.Write(vr.Batch{Entries: entries[5:]}))
	require.ErrorIs(t, storage.MarkClean(), ErrGap)
	require.ErrorIs(t, storage.Write(vr.Batch{}), ErrFailed)
}

// TestWhatWaitsRefersToItsOwnCheckpoint: the log goes on from a fetched checkpoint while hints wait, and before that
// is written there is a newer one.
func TestWhatWaitsRefersToItsOwnCheckpoint(t *testing.T) {
	eachLog(t, testWhatWaitsRefersToItsOwnCheckpoint)
}

func testWhatWaitsRefersToItsOwnCheckpoint(t *testing.T, log Log) {
	directory := created(t, log)
	storage := neverByItself(t, directory)
	require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 4}, Entries: chain(0, 1, 10, 1, 10), Sync: true}))
	require.NoError(t, storage.Write(vr.Batch{HardState: &core.HardState{View: 4, Commit: 7}}))
	writeCheckpoint(t, storage, core.CheckpointMeta{Op: 1000, View: 4, Hash: 77}, []byte("of another"))
	require.NoError(t, storage.Write(vr.Batch{TruncateBelow: 1001, HardState: &core.HardState{View: 4, Commit: 1000}}))
	after := chain(77, 1001, 1009, 4, 10)
	require.NoError(t, storage.Write(vr.Batch{Entries: after}))
	writeCheckpoint(t, storage, core.CheckpointMeta{Op: 1003, View: 4, Hash: after[2].Hash}, []byte("its own"))
	require.NoError(t, storage.flush())
	got := killed(t, directory, DurabilityAsync)
	require.Equal(t, after, got.Entries)
	require.Equal(t, core.OpNumber(1000), got.HardState.Commit)
}
