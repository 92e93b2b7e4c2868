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
				require.Len(t, r.log, 2*pairs+2, "with the entry of that checkpoint")
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

// statuses are where the replicas stand; those that are down have none.
func (s *scripted) statuses() map[ReplicaID]Status {
	found := map[ReplicaID]Status{}
	for _, r := range s.replicas {
		if r.Replica != nil {
			found[r.id] = r.Status().Status
		}
	}
	return found
}

// A backup that has lost everything comes back from the others, and counts again.
func TestRecovery(t *testing.T) {
	s := begun(t, "3")
	told := s.play("propose r2 a b c", "deliver", "tick 2 r2", "deliver", "crash r1 keeping 0", "start r1", "deliver")
	require.Contains(t, told, "r1 -> r2 RECOVERY")
	require.Equal(t, StatusNormal, s.replicas[0].Status().Status)
	require.Equal(t, s.replicas[1].log, s.replicas[0].log)
	require.Contains(t, s.play("crash r3", "propose r2 d", "deliver"), "r2 applies 4/v1=d", "with it as the only backup")
}

// What it has left and knows to be committed does not travel; when nothing is missing, nothing does.
func TestRecoveryWithItsOwnLog(t *testing.T) {
	s := begun(t, "3")
	told := s.play("propose r2 a b c", "deliver", "tick 2 r2", "deliver", "propose r2 d", "deliver", "crash r1 keeping 3", "start r1", "deliver")
	require.Contains(t, told, "NEWSTATE v1 op 4 commit 4 first 4 : 4/v1=d\n", "only the last one")
	told = s.play("crash r1 keeping 4", "start r1", "deliver")
	require.Contains(t, told, "RECOVERYRESPONSE")
	require.NotContains(t, told, "GETSTATE")
	require.Equal(t, StatusNormal, s.replicas[0].Status().Status)
	require.Equal(t, s.replicas[1].log, s.replicas[0].log)
}

// Nobody answers at first; then the primary is gone, and the replica recovers in the view that comes after.
func TestRecoveryRetries(t *testing.T) {
	s := begun(t, "5")
	s.play("propose r2 a", "deliver", "tick 2 r2", "deliver", "crash r1 keeping 0", "cut r1", "start r1", "tick 40 r1", "deliver")
	require.Equal(t, StatusRecovering, s.replicas[0].Status().Status)
	s.play("heal r1", "crash r2")
	for range 12 {
		s.play("tick 2", "deliver")
	}
	require.Equal(t, StatusNormal, s.replicas[0].Status().Status)
	require.Equal(t, ViewNumber(2), s.replicas[0].Status().View)
	require.Equal(t, OpNumber(1), s.replicas[0].Status().Op)
}

// Schedule 30, async with one crash at a time: the primary and B1 acknowledge op 10; B1 is killed before its disk has
// it; then the primary dies. B1 must not go on with B2, which has never heard of op 10.
func TestAsyncOneCrashAtATime(t *testing.T) {
	for _, broken := range []bool{false, true} {
		s := newScripted(t, []string{"3"})
		if broken {
			s.config.Omit = 1 << RuleRecover
		}
		s.play("begin", "propose r2 1 2 3 4 5 6 7 8 9", "deliver", "tick 2 r2", "deliver", "cut r3")
		require.Contains(t, s.play("propose r2 acknowledged", "deliver"), "r2 applies 10/v1=acknowledged")
		s.play("crash r1 keeping 9", "start r1", "drop", "crash r2", "heal r3")
		for range 20 {
			s.play("tick 2", "deliver")
		}
		lost := false
		for _, r := range []*actor{s.replicas[0], s.replicas[2]} {
			lost = lost || r.Status().Status == StatusNormal && r.Status().View > 1 && r.Status().Op == 9
		}
		require.Equal(t, broken, lost, "%v", s.statuses())
		if broken {
			continue
		}
		// The primary comes back with all that it had, and so does the group.
		s.play("start r2")
		for range 10 {
			s.play("tick 3", "deliver")
		}
		for _, r := range s.replicas {
			require.Equal(t, StatusNormal, r.Status().Status)
			require.Equal(t, OpNumber(10), r.Status().Applied)
		}
	}
}

// More than f have lost something at once: nobody can say what was acknowledged, and the group stays stopped.
func TestMoreThanFRecoveringStayStopped(t *testing.T) {
	s := begun(t, "3")
	s.play("propose r2 a", "deliver", "crash r1 keeping 0", "crash r3 keeping 0", "start r1", "start r3")
	for range 50 {
		s.play("tick 6", "deliver")
	}
	require.Equal(t, map[ReplicaID]Status{1: StatusRecovering, 2: StatusNormal, 3: StatusRecovering}, s.statuses())
	require.False(t, s.replicas[1].Status().Leading)
	require.Contains(t, s.play("propose r2 b"), "not the leading primary")
}
