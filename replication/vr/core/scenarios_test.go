package core

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The scenarios of a whole group that every implementation of the protocol ought to pass, beside the scripts.
// TestCommitWithQuorum, TestRequestsToBackupsAreRefused and TestConsecutivePrimaryFailures are elsewhere, the last
// two with the driver.

// begun is a group in view 1, whose primary is replica 2.
func begun(t *testing.T, words ...string) *scripted {
	t.Helper()
	s := newScripted(t, words)
	s.play("begin")
	require.True(t, s.replicas[1].Status().Leading)
	return s
}

// play carries out commands and returns what came of them.
func (s *scripted) play(commands ...string) string {
	s.Helper()
	s.trace.Reset()
	for _, command := range commands {
		s.do(strings.Fields(command))
	}
	return s.trace.String()
}

func TestNoCommitWithoutQuorum(t *testing.T) {
	s := begun(t, "5")
	told := s.play("cut r1", "cut r3", "cut r4", "propose r2 a", "deliver", "tick 3", "deliver")
	require.Contains(t, told, "r5 -> r2 PREPAREOK v1 op 1")
	require.NotContains(t, told, "applies")
	require.Zero(t, s.replicas[1].Status().Commit)
	require.Contains(t, s.play("heal r4", "tick 2", "deliver"), "r2 applies 1/v1=a")
}

func TestSimpleViewChange(t *testing.T) {
	s := begun(t, "3")
	s.play("propose r2 a", "deliver", "crash r2", "tick 6", "deliver")
	require.True(t, s.replicas[2].Status().Leading)
	require.Contains(t, s.play("propose r3 b", "deliver"), "r3 applies 2/v2=b")
	require.Equal(t, OpNumber(2), s.replicas[2].Status().Applied, "a is inherited")
}

// The old primary comes back from its own disk while the view goes on, and takes part in what is next.
func TestViewChangeWithRestart(t *testing.T) {
	s := begun(t, "3")
	s.play("propose r2 a", "deliver", "crash r2", "tick 6", "deliver", "propose r3 b", "deliver", "start r2", "deliver", "tick 2", "deliver")
	require.Equal(t, StatusNormal, s.replicas[1].Status().Status)
	require.Equal(t, OpNumber(2), s.replicas[1].Status().Applied)
	require.Contains(t, s.play("crash r1", "propose r3 c", "deliver"), "r3 applies 3/v2=c", "with the old primary as its only backup")
}

// Everybody restarts at once, from nothing but the disks.
func TestRestartWithItsOwnLog(t *testing.T) {
	s := begun(t, "3")
	s.play("propose r2 a b c", "deliver", "crash r1", "crash r2", "crash r3", "drop", "start r1", "start r2", "start r3", "deliver")
	for range 4 {
		s.play("tick 6", "deliver")
	}
	for _, r := range s.replicas {
		require.Equal(t, OpNumber(3), r.Status().Applied, "replica %d", r.id)
		require.Equal(t, StatusNormal, r.Status().Status)
	}
}

// The primary of the next view does not answer either: the view change is given up, and the one after it works.
func TestFailedViewChangeIsAbortedAndTheNextOneStarts(t *testing.T) {
	s := begun(t, "5")
	s.play("propose r2 a", "deliver", "crash r2", "cut r3", "tick 6", "deliver")
	require.Equal(t, ViewNumber(2), s.replicas[0].Status().View)
	require.Equal(t, StatusViewChange, s.replicas[0].Status().Status, "replica 3 is to be its primary")
	for round := 0; !s.replicas[3].Status().Leading; round++ {
		require.Less(t, round, 6)
		s.play("tick 3", "deliver")
	}
	require.Equal(t, ViewNumber(3), s.replicas[3].Status().View)
	require.Contains(t, s.play("propose r4 b", "deliver"), "r4 applies 2/v3=b")
	s.play("heal r3", "tick 2", "deliver", "tick 2", "deliver")
	require.Equal(t, OpNumber(2), s.replicas[2].Status().Applied)
}

// Puts and deletes of one key, over and over: in the end all replicas have equal memory and an equal log, and no
// more of the log than lies above the checkpoint before the last.
func TestPutsAndDeletesOfOneKey(t *testing.T) {
	for _, count := range []int{500, 500_000} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			if count > 500 && testing.Short() {
				t.Skip("takes some seconds")
			}
			s := begun(t, "3")
			memory := map[ReplicaID]map[string]string{1: {}, 2: {}, 3: {}}
			s.apply = func(r *actor, committed []Entry) {
				for i := range committed {
					if value, put := strings.CutPrefix(string(committed[i].Payload), "put "); put {
						memory[r.id]["key"] = value
					} else {
						delete(memory[r.id], "key")
					}
				}
			}
			pairs := count / 100
			for i := range 100 {
				s.proposeMany(putsAndDeletes(i*pairs, pairs))
				s.play("deliver", "tick 2 r2", "deliver", "checkpoint r1", "checkpoint r2", "checkpoint r3")
			}
			require.Equal(t, map[ReplicaID]map[string]string{1: {}, 2: {}, 3: {}}, memory)
			s.proposeMany([][]byte{[]byte("put last")})
			s.play("deliver", "tick 2 r2", "deliver")
			for _, r := range s.replicas {
				require.Equal(t, map[string]string{"key": "last"}, memory[r.id])
				require.Equal(t, OpNumber(2*count+1), r.Status().Applied)
				require.Equal(t, s.replicas[0].log, r.log)
				require.Len(t, r.log, 2*pairs+1)
			}
		})
	}
}

func putsAndDeletes(from, pairs int) [][]byte {
	var payloads [][]byte
	for i := range pairs {
		payloads = append(payloads, fmt.Appendf(nil, "put %d", from+i), []byte("delete"))
	}
	return payloads
}

func (s *scripted) proposeMany(payloads [][]byte) {
	s.Helper()
	primary := s.replicas[1]
	_, err := primary.Propose(1, payloads)
	require.NoError(s, err)
	s.act(primary)
}
