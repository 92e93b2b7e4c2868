package survey

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// cluster gives a coordinator and two shards of three, all well, with replica 1 serving each.
func cluster(changes ...func(replicas []Replica)) []Replica {
	var replicas []Replica
	for group := range uint32(3) {
		for replica := range uint32(3) {
			replicas = append(replicas, Replica{
				Group: group, Replica: replica + 1, Status: "normal", Role: "backup", View: 7, Op: 20_500, Commit: 20_500, Applied: 20_500,
			})
		}
	}
	for group := range 3 {
		replicas[3*group].Role, replicas[3*group].Serving = "primary", true
	}
	for _, change := range changes {
		change(replicas)
	}
	return replicas
}

// five gives a coordinator of five, all well, with replica 1 serving.
func five(changes ...func([]Replica)) []Replica {
	replicas := cluster()[:3]
	for replica := range uint32(2) {
		backup := replicas[1]
		backup.Replica = 4 + replica
		replicas = append(replicas, backup)
	}
	for _, change := range changes {
		change(replicas)
	}
	return replicas
}

func lost(at ...int) func([]Replica) {
	return func(replicas []Replica) {
		for _, i := range at {
			replicas[i] = Replica{Group: replicas[i].Group, Replica: replicas[i].Replica, Error: "refused"}
		}
	}
}

func change(at int, edit func(*Replica)) func([]Replica) {
	return func(replicas []Replica) { edit(&replicas[at]) }
}

func TestAssess(t *testing.T) {
	for _, c := range []struct {
		name     string
		replicas []Replica
		health   Health
		sentence string
	}{
		{"all well", cluster(), Whole, "Every group can lose 1 replica and go on."},
		{"one replica", cluster()[:1], Whole, "No group can lose a replica."},
		{
			"a backup lost", cluster(lost(5)), Reduced,
			"Shard 1 can lose no more replicas (replica 3 does not answer); every other group can lose 1 replica and go on.",
		},
		{
			"a replica of every group lost", cluster(lost(1, 4, 7)), Reduced,
			"The coordinator can lose no more replicas (replica 2 does not answer); shard 1 can lose no more replicas (replica 2 does not answer); " +
				"shard 2 can lose no more replicas (replica 2 does not answer).",
		},
		{
			"two replicas lost", cluster(lost(4, 5)), Down,
			"Shard 1 is down: it needs 2 of its 3 replicas and has 1 (replica 2 does not answer, replica 3 does not answer); " +
				"start replicas 2 and 3; every other group can lose 1 replica and go on.",
		},
		{
			"the primary lost, nobody serves yet", cluster(lost(6)), Waiting,
			"Shard 2 has no serving primary yet: it is changing views, ask again in a second (replica 1 does not answer); " +
				"every other group can lose 1 replica and go on.",
		},
		{
			"lagging", cluster(change(2, func(r *Replica) { r.Commit, r.Lag = 400, 20_100 })), Reduced,
			"The coordinator can lose no more replicas (replica 3 lags by 20100 operations); every other group can lose 1 replica and go on.",
		},
		{
			"a little behind", cluster(change(2, func(r *Replica) { r.Lag = lagMax })), Whole,
			"Every group can lose 1 replica and go on.",
		},
		{
			"in an old view", cluster(change(8, func(r *Replica) { r.View = 6 })), Reduced,
			"Shard 2 can lose no more replicas (replica 3 is still in view 6 of 7); every other group can lose 1 replica and go on.",
		},
		{
			"stopped", cluster(change(8, func(r *Replica) { r.Status, r.Failure = "stopped", "the disk is full" })), Reduced,
			"Shard 2 can lose no more replicas (replica 3 has stopped: the disk is full); every other group can lose 1 replica and go on.",
		},
		{
			"an old primary that still believes in itself", cluster(change(6, func(r *Replica) { r.View = 6 })), Waiting,
			"Shard 2 has no serving primary yet: it is changing views, ask again in a second (replica 1 is still in view 6 of 7); " +
				"every other group can lose 1 replica and go on.",
		},
		{
			"a state transfer", cluster(change(1, func(r *Replica) { r.Status = "transferring" })), Reduced,
			"The coordinator can lose no more replicas (replica 2 is in state transferring); every other group can lose 1 replica and go on.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assessment := Assess(c.replicas)
			require.Equal(t, c.sentence, assessment.Sentence)
			require.Equal(t, c.health, assessment.Health)
		})
	}
}

func TestAssessExtremes(t *testing.T) {
	for _, c := range []struct {
		name     string
		replicas []Replica
		health   Health
		sentence string
	}{
		{
			"no quorum anywhere", cluster(lost(0, 1, 3, 4, 6, 7)), Down,
			"The coordinator is down: it needs 2 of its 3 replicas and has 1 (replica 1 does not answer, replica 2 does not answer); start replicas 1 and 2; " +
				"shard 1 is down: it needs 2 of its 3 replicas and has 1 (replica 1 does not answer, replica 2 does not answer); start replicas 1 and 2; " +
				"shard 2 is down: it needs 2 of its 3 replicas and has 1 (replica 1 does not answer, replica 2 does not answer); start replicas 1 and 2.",
		},
		{
			"one of five lost", five(lost(4)), Reduced,
			"The coordinator can lose 1 more replica (replica 5 does not answer).",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assessment := Assess(c.replicas)
			require.Equal(t, c.sentence, assessment.Sentence)
			require.Equal(t, c.health, assessment.Health)
		})
	}
}

func TestAssessCountsPerGroup(t *testing.T) {
	assessment := Assess(cluster(lost(4)))
	require.Len(t, assessment.Groups, 3)
	shard := assessment.Groups[1]
	require.Equal(t, []any{uint32(1), 3, 2, 0, uint32(1), Reduced},
		[]any{shard.Group, shard.Members, shard.Well, shard.Spare, shard.Primary, shard.Health})
	require.Equal(t, 1, assessment.Groups[0].Spare)
}

// Who recovers has to be waited for, not started; when more than f do, nobody has what they lost.
func TestAssessRecovering(t *testing.T) {
	for _, c := range []struct {
		name     string
		replicas []Replica
		health   Health
		sentence string
	}{
		{
			"one recovers", cluster(change(1, func(r *Replica) { r.Status = "recovering" })), Reduced,
			"The coordinator can lose no more replicas (replica 2 recovers from the others); every other group can lose 1 replica and go on.",
		},
		{
			"one recovers and one is lost", cluster(lost(5), change(4, func(r *Replica) { r.Status = "recovering" })), Down,
			"Shard 1 is down: it needs 2 of its 3 replicas and has 1 (replica 2 recovers from the others, replica 3 does not answer); " +
				"start replica 3; every other group can lose 1 replica and go on.",
		},
		{
			"more than f recover", cluster(change(3, func(r *Replica) { r.Status = "recovering" }), change(4, func(r *Replica) { r.Status = "recovering" })), Down,
			"Shard 1 stays stopped: replicas 1 and 2 may have lost what they had acknowledged, and no more than 1 of its " +
				"3 replicas may at a time (if that is lost for good: viewline force --help); every other group can lose 1 replica and go on.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assessment := Assess(c.replicas)
			require.Equal(t, c.sentence, assessment.Sentence)
			require.Equal(t, c.health, assessment.Health)
		})
	}
}

// withWitness makes the last replica of every group of a cluster its witness.
func withWitness(replicas []Replica) {
	for i := range replicas {
		if replicas[i].Replica == 3 {
			replicas[i].Role, replicas[i].Witness = "witness", true
		}
	}
}

// A witness counts in every quorum, and has no state: what is left when another replica is lost is one state.
func TestAssessWitnesses(t *testing.T) {
	lostState := lost(4)
	for _, c := range []struct {
		name     string
		replicas []Replica
		health   Health
		sentence string
	}{
		{"all well", cluster(withWitness), Whole, "Every group can lose 1 replica and go on."},
		{
			"a witness lost", cluster(withWitness, lost(5), change(5, func(r *Replica) { r.Witness = true })), Reduced,
			"Shard 1 can lose no more replicas (replica 3 does not answer); every other group can lose 1 replica and go on.",
		},
		{
			"a state lost", cluster(withWitness, lostState), Reduced,
			"Shard 1 can lose no more replicas (replica 2 does not answer; of those that are well only replica 1 has the state); " +
				"every other group can lose 1 replica and go on.",
		},
		{
			"a state and the witness lost", cluster(withWitness, lostState, lost(5), change(5, func(r *Replica) { r.Witness = true })), Down,
			"Shard 1 is down: it needs 2 of its 3 replicas and has 1 (replica 2 does not answer, replica 3 does not answer; " +
				"of those that are well only replica 1 has the state); start replicas 2 and 3; every other group can lose 1 replica and go on.",
		},
		{
			"both states lost", cluster(withWitness, lost(3), lostState), Down,
			"Shard 1 is down: it needs 2 of its 3 replicas and has 1 (replica 1 does not answer, replica 2 does not answer); " +
				"start replicas 1 and 2; every other group can lose 1 replica and go on.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assessment := Assess(c.replicas)
			require.Equal(t, c.sentence, assessment.Sentence)
			require.Equal(t, c.health, assessment.Health)
		})
	}
}

// A replica that is no member of the newest epoch says so, with what is to be done; and views count within an epoch.
func TestAssessEpochs(t *testing.T) {
	later := func(replicas []Replica) {
		for i := range replicas[:3] {
			replicas[i].Epoch, replicas[i].View = 2, 9
		}
	}
	status := func(at int, status string) func([]Replica) {
		return change(at, func(r *Replica) { r.Status = status })
	}
	const rest = "; every other group can lose 1 replica and go on."
	for _, c := range []struct {
		name     string
		replicas []Replica
		health   Health
		sentence string
	}{
		{"all in a later epoch", cluster(later), Whole, "Every group can lose 1 replica and go on."},
		{
			"one that has not heard, in a view of its own", cluster(later, change(1, func(r *Replica) { r.Epoch, r.View = 1, 30 })), Reduced,
			"The coordinator can lose no more replicas (replica 2 is still in epoch 1 of 2)" + rest,
		},
		{
			"an old primary", cluster(later, change(0, func(r *Replica) { r.Epoch, r.View = 1, 30 })), Waiting,
			"The coordinator has no serving primary yet: it is changing views, ask again in a second (replica 1 is still in epoch 1 of 2)" + rest,
		},
		{
			"a later life that waits", cluster(later, status(2, "transitioning")), Reduced,
			"The coordinator can lose no more replicas (replica 3 is no member yet, in this life (once it has caught up: viewline member --help))" + rest,
		},
		{
			"one that leaves", cluster(later, status(2, "leaving")), Reduced,
			"The coordinator can lose no more replicas (replica 3 is a member no more, and is needed until those that are have begun)" + rest,
		},
		{
			"one that has left, and one that is lost", cluster(later, status(2, "left"), lost(1)), Down,
			"The coordinator is down: it needs 2 of its 3 replicas and has 1 (replica 2 does not answer, " +
				"replica 3 is a member no more: its node can be stopped, and its directory removed); start replica 2" + rest,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assessment := Assess(c.replicas)
			require.Equal(t, c.sentence, assessment.Sentence)
			require.Equal(t, c.health, assessment.Health)
		})
	}
}

// A replica that was made for another backend is none of its group, wherever its own views are.
func TestAssessBackends(t *testing.T) {
	backend := func(name string, at ...int) func([]Replica) {
		return func(replicas []Replica) {
			for _, i := range at {
				replicas[i].Backend = name
			}
		}
	}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}
	stranger := func(r *Replica) { r.Backend, r.View, r.Epoch = "raft", 99, 3 }
	for _, c := range []struct {
		name     string
		replicas []Replica
		health   Health
		sentence string
	}{
		{"a backend for each group", cluster(backend("vr", 0, 1, 2, 6, 7, 8), backend("raft", 3, 4, 5)), Whole, "Every group can lose 1 replica and go on."},
		{
			"a stranger", cluster(backend("vr", all...), change(5, stranger)), Reduced,
			"Shard 1 can lose no more replicas (replica 3 was set up with backend raft, and its group has vr: it takes part in nothing, " +
				"put its own directory back); every other group can lose 1 replica and go on.",
		},
		{
			"a stranger as the first", cluster(backend("vr", all...), change(4, func(r *Replica) { r.Serving, r.Role = true, "primary" }), change(3, func(r *Replica) {
				stranger(r)
				r.Serving, r.Role = false, "backup"
			})), Reduced,
			"Shard 1 can lose no more replicas (replica 1 was set up with backend raft, and its group has vr: it takes part in nothing, " +
				"put its own directory back); every other group can lose 1 replica and go on.",
		},
		{
			"a stranger, and one lost", cluster(backend("vr", all...), change(5, stranger), lost(4)), Down,
			"Shard 1 is down: it needs 2 of its 3 replicas and has 1 (replica 2 does not answer, replica 3 was set up with backend raft, " +
				"and its group has vr: it takes part in nothing, put its own directory back); start replica 2; every other group can lose 1 replica and go on.",
		},
		{
			"too much forgotten in raft", cluster(backend("raft", all...), change(3, func(r *Replica) { r.Status, r.Serving = "recovering", false }), change(4, func(r *Replica) { r.Status = "recovering" })), Down,
			"Shard 1 stays stopped: replicas 1 and 2 may have lost what they had acknowledged, and no more than 1 of its 3 replicas may at a time " +
				"(if that is lost for good, so is the group: backend raft has no way to go on from what is left); every other group can lose 1 replica and go on.",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assessment := Assess(c.replicas)
			require.Equal(t, c.health, assessment.Health)
			require.Equal(t, c.sentence, assessment.Sentence)
		})
	}
}
