package core

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
)

func (s *scripted) handOver(r *actor, to string) {
	s.Helper()
	id, err := strconv.Atoi(strings.TrimPrefix(to, "r"))
	require.NoError(s, err)
	s.say(r, "%v", errorOr(r.HandOver(ReplicaID(id)), "hands over to r%d", id))
	s.act(r)
}

func TestHandoverToEachOther(t *testing.T) {
	for n := 2; n <= 7; n++ {
		for target := ReplicaID(1); int(target) <= n; target++ {
			s := begun(t, strconv.Itoa(n))
			s.play("propose r2 a b", "deliver", "propose r2 c")
			told := s.play("handover r2 r"+strconv.Itoa(int(target)), "deliver")
			require.Contains(t, told, "ends its handover to r"+strconv.Itoa(int(target)))
			require.Contains(t, told, "done")
			require.NotContains(t, told, "drops")
			for _, r := range s.replicas {
				status := r.Status()
				require.Equal(t, target, status.Primary)
				require.Less(t, status.View, ViewNumber(n+1), "the least view of the target's")
				require.Equal(t, StatusNormal, status.Status)
				require.Equal(t, r.id == target, status.Leading)
				require.Equal(t, OpNumber(3), status.Op)
				require.False(t, status.HandingOver)
				require.Zero(t, status.Successor)
			}
		}
	}
}

func TestHandoverIsRefused(t *testing.T) {
	s := begun(t, "3")
	require.ErrorIs(t, s.replicas[0].HandOver(3), ErrNotPrimary)
	require.ErrorIs(t, s.replicas[1].HandOver(9), ErrNoMember)
	require.NoError(t, s.replicas[1].HandOver(3))
	require.ErrorIs(t, s.replicas[1].HandOver(3), ErrHandingOver)
	require.ErrorIs(t, s.replicas[1].HandOver(0), ErrHandingOver)
	one := newScripted(t, []string{"1"})
	require.ErrorIs(t, one.replicas[0].HandOver(0), ErrNoMember)
	require.Contains(t, one.play("handover r1 r1"), "ends its handover to r1 in view 1: done", "it has the role")
	require.ErrorIs(t, begun(t, "3").replicas[1].HandOver(2), nil)
}

// Until the target has all that is committed the primary serves; then it is sealed for as long as the rest takes.
func TestHandoverSealsLate(t *testing.T) {
	s := begun(t, "3")
	s.play("cut r3", "propose r2 a b c", "deliver", "handover r2 r3", "tick 3", "deliver")
	require.Contains(t, s.play("propose r2 d", "deliver"), "applies 4/v1=d", "replica 3 is away, and nobody waits for it")
	s.play("heal r3", "tick 4", "deliver PREPARE r2->r3", "deliver PREPAREOK r3->r2")
	require.False(t, s.replicas[1].sealed(), "the target has not answered since the handover began")
	s.play("propose r2 e", "deliver COMMIT r2->r3", "deliver COMMITOK r3->r2")
	require.True(t, s.replicas[1].sealed())
	told := s.play("propose r2 f")
	require.Contains(t, told, ErrNotPrimary.Error())
	view, primary := s.replicas[1].Redirect()
	require.Equal(t, ViewNumber(1), view)
	require.Zero(t, primary, "nobody else is it yet")
	told = s.play("deliver")
	_, primary = s.replicas[1].Redirect()
	require.Equal(t, ReplicaID(3), primary)
	require.Contains(t, told, "r2 applies 5/v1=e")
	require.Contains(t, told, "ends its handover to r3 in view 2: done")
	require.NotContains(t, told, "drops")
}

// A target that does not catch up costs the group nothing but the attempt.
func TestHandoverToADeadTargetIsGivenUp(t *testing.T) {
	s := begun(t, "3")
	s.play("crash r3", "handover r2 r3")
	told := ""
	for range handoverPatience * s.config.ViewChangeTicksMax {
		require.Contains(t, s.play("propose r2 x", "deliver"), "applies", "it serves all the while")
		told += s.play("tick 1", "deliver")
	}
	require.Contains(t, told, "ends its handover to r3 in view 1: behind")
	require.Equal(t, ViewNumber(1), s.replicas[1].Status().View)
	require.NoError(t, s.replicas[1].HandOver(1), "another may be tried")
}

// A target that dies when the primary is sealed already: the primary takes proposals again after a time-out.
func TestHandoverToATargetThatDiesWhileSealedIsGivenUp(t *testing.T) {
	s := begun(t, "3")
	s.play("handover r2 r3", "propose r2 a", "deliver PREPAREOK", "deliver COMMIT", "deliver COMMITOK")
	require.True(t, s.replicas[1].sealed())
	s.play("crash r3", "deliver")
	told := ""
	for range s.config.ViewChangeTicksMin {
		told += s.play("tick 1", "deliver")
	}
	require.Contains(t, told, "ends its handover to r3 in view 1: behind")
	require.Contains(t, s.play("propose r2 b", "deliver"), "r2 applies 2/v1=b")
}

// The target dies in the middle: the view that it was to have is given up, and the next one has everything.
func TestHandoverWhoseTargetDiesAfterTheViewIsLeft(t *testing.T) {
	s := begun(t, "3")
	s.play("propose r2 a", "deliver", "handover r2 r3", "deliver COMMIT", "deliver COMMITOK")
	require.Equal(t, ViewNumber(2), s.replicas[1].Status().View)
	require.Equal(t, ReplicaID(3), s.replicas[1].Status().Successor)
	told := s.play("crash r3", "deliver")
	for round := 0; !s.replicas[0].Status().Leading; round++ {
		require.Less(t, round, 10)
		told += s.play("tick 3", "deliver")
	}
	require.Contains(t, told, "r2 ends its handover to r3 in view 3: overtaken")
	require.Contains(t, s.play("propose r1 b", "deliver"), "r1 applies 2/v3=b")
}

// The messages that end the view are lost: they are sent again.
func TestHandoverWhoseMessagesAreLost(t *testing.T) {
	s := begun(t, "3")
	s.play("propose r2 a", "deliver", "handover r2 r1", "deliver COMMIT", "deliver COMMITOK", "drop")
	require.Contains(t, s.play("tick 4 r2", "deliver"), "r2 ends its handover to r1 in view 3: done")
	s.play("handover r1 r2", "drop COMMIT")
	require.Contains(t, s.play("tick 2 r1", "deliver"), "r1 ends its handover to r2 in view 4: done", "a heartbeat asks again")
}

func TestHandoverIsOvertaken(t *testing.T) {
	s := begun(t, "5")
	s.play("handover r2 r3", "drop", "cut r2")
	told := s.play("tick 6")
	require.Contains(t, told, "r2 ends its handover to r3 in view 1: overtaken", "it hears nobody and leads no more")
}

func TestHandoverIsCancelled(t *testing.T) {
	s := begun(t, "3")
	require.Empty(t, s.play("cancel r2"), "there is none")
	s.play("handover r2 r3")
	require.Contains(t, s.play("cancel r2"), "ends its handover to r3 in view 1: cancelled")
	require.Contains(t, s.play("deliver", "propose r2 a", "deliver"), "r2 applies 1/v1=a")
	s.play("handover r2 r3", "deliver COMMIT", "deliver COMMITOK")
	require.Contains(t, s.play("cancel r2"), "ends its handover to r3 in view 2: unknown", "the view is left already")
	require.NotContains(t, s.play("deliver"), "ends its handover")
	require.True(t, s.replicas[2].Status().Leading)
}

// Reads end as in any view change.
func TestHandoverAndReads(t *testing.T) {
	s := begun(t, "3")
	told := s.play("handover r2 r1", "read r2 7", "deliver COMMIT r2->r1", "deliver COMMITOK", "deliver")
	require.Contains(t, told, "answers read 7")
	require.Contains(t, told, "ends its handover to r1 in view 3: done")
}

// TestHandoverFinishesWhatWasTaken: without its rule the fate of a proposal is not told.
func TestHandoverFinishesWhatWasTaken(t *testing.T) {
	dropped := func(rules omit.Set) bool {
		s := newScripted(t, []string{"3"})
		s.config.Omit = rules
		for _, r := range s.replicas {
			s.start(r)
		}
		s.play("begin")
		s.play("propose r2 a", "deliver", "handover r2 r3", "propose r2 b", "deliver COMMIT")
		return strings.Contains(s.play("deliver COMMITOK", "deliver"), "drops its proposals")
	}
	require.False(t, dropped(omit.Set(0)))
	require.True(t, dropped(omit.Of(RuleHandoverFinished)))
}
