package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/registers"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

func TestVoid(t *testing.T) {
	good := func() Result {
		single := registers.Counts{Puts: registersMin, Gets: registersMin}
		return Result{Commits: commitsMin, Conflicts: conflictsMin, Gets: probesMin, Registers: single, Faults: []Fault{
			{Name: "f", Commits: commitsAfterFaultMin},
			{Name: "g", Commits: commitsAfterFaultMin, Probed: true, Answered: 1, Refused: probesMin - 1, Gets: probesMin},
		}}
	}
	enough := good()
	require.NoError(t, enough.void())
	for name, change := range map[string]func(*Result){
		"commits":       func(r *Result) { r.Commits-- },
		"conflicts":     func(r *Result) { r.Conflicts-- },
		"reads":         func(r *Result) { r.Gets-- },
		"single reads":  func(r *Result) { r.Registers.Gets-- },
		"single writes": func(r *Result) { r.Registers.Puts-- },
		"commits after": func(r *Result) { r.Faults[0].Commits-- },
		"questions":     func(r *Result) { r.Faults[1].Refused-- },
		"reads after":   func(r *Result) { r.Faults[1].Gets-- },
	} {
		t.Run(name, func(t *testing.T) {
			result := good()
			change(&result)
			require.ErrorIs(t, result.void(), ErrVoid)
		})
	}
}

func TestMedian(t *testing.T) {
	require.Equal(t, time.Duration(3), median([]time.Duration{3}))
	require.Equal(t, time.Duration(5), median([]time.Duration{9, 1, 5}))
	require.Equal(t, time.Duration(4), median([]time.Duration{9, 3, 1, 5}))
}

func TestOptionsValidate(t *testing.T) {
	require.NoError(t, (&Options{Binary: "x"}).Validate())
	for _, options := range []Options{{}, {Binary: "x", Rounds: -1}, {Binary: "x", Accounts: 1}, {Binary: "x", Duration: -1}, {Binary: "x", Clerks: -1}} {
		require.ErrorIs(t, options.Validate(), ErrOptions)
	}
}

// note puts a question on a probe's books without sending it.
func (p *probe) note(id, acked, highest uint64) {
	p.open[id] = expected{acked: acked, highest: highest}
}

func newProbe() *probe {
	return &probe{witness: &witness{}, place: &place{shard: 1, oid: "x"}, open: map[uint64]expected{}}
}

func values(text string) []*pb.Value { return []*pb.Value{{Present: true, Value: []byte(text)}} }

func TestProbeFindsStaleAnswers(t *testing.T) {
	for _, c := range []struct {
		name     string
		response *pb.Response
		stale    bool
	}{
		{"a fresh read", &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values("7")}}}, false},
		{"a newer read", &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values("8")}}}, false},
		{"an old read", &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values("6")}}}, true},
		{"an old snapshot", &pb.Response{Body: &pb.Response_Snapshot{Snapshot: &pb.SnapshotResponse{Values: values("6")}}}, true},
		{"an object that is gone", &pb.Response{Body: &pb.Response_Snapshot{Snapshot: &pb.SnapshotResponse{Values: []*pb.Value{{}}}}}, true},
		{"a new timestamp", &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: 101, Count: 1}}}, false},
		{"the same timestamp", &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: 100, Count: 1}}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProbe()
			p.note(1, 7, 100)
			c.response.Id = 1
			err := p.judge(c.response)
			if c.stale {
				require.ErrorIs(t, err, ErrStale)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 1, p.answered)
			require.Error(t, p.judge(c.response), "one answer for each question")
		})
	}
}

func TestProbeTakesOnlyHonestRefusals(t *testing.T) {
	for code := range pb.Code_name {
		p := newProbe()
		p.note(1, 7, 100)
		err := p.judge(&pb.Response{Id: 1, Body: &pb.Response_Error{Error: &pb.Error{Code: pb.Code(code)}}})
		switch pb.Code(code) {
		case pb.Code_CODE_NOT_PRIMARY, pb.Code_CODE_UNAVAILABLE, pb.Code_CODE_OVERLOADED, pb.Code_CODE_DEADLINE, pb.Code_CODE_FUTURE_TIMESTAMP:
			require.NoError(t, err)
			require.Equal(t, 1, p.refused)
		default:
			require.Error(t, err)
		}
	}
}

func TestWitnessOnlyRises(t *testing.T) {
	w := &witness{}
	for _, timestamp := range []txn.Timestamp{5, 9, 3, 9} {
		w.raise(timestamp)
	}
	require.Equal(t, uint64(9), w.highest.Load())
}

func TestOptions(t *testing.T) {
	for _, options := range []Options{
		{},
		{Binary: "b", Replicas: 2},
		{Binary: "b", Replicas: -1},
		{Binary: "b", Accounts: 1},
		{Binary: "b", Rounds: -1},
		{Binary: "b", Durability: "iron"},
		{Binary: "b", Log: "paper"},
		{Binary: "b", Backend: "paxos"},
		{Binary: "b", Backend: "raft", Durability: "async"},
		{Binary: "b", Backend: "raft", Log: "wal"},
		{Binary: "b", Backend: "raft", Witness: true},
		{Binary: "b", Partitions: "walls"},
		{Binary: "b", Replicas: 5, Witness: true},
		{Binary: "b", Kinds: []string{"kill", "hail"}},
	} {
		_, err := Run(t.Context(), options)
		require.ErrorIs(t, err, ErrOptions)
	}
	var options Options
	options.setDefaults()
	require.Equal(t, Options{Rounds: 1, Replicas: 3, Durability: "sync", Backend: "vr", Log: "bbolt", Partitions: PartitionsNamespaces, Clerks: 16, Accounts: 1000}, options)
}

func TestKinds(t *testing.T) {
	options := Options{Binary: "b"}
	for _, kind := range Kinds() {
		require.True(t, options.asksFor(kind), "all, if none is named")
	}
	options.Kinds = []string{"kill", "shards", "clerks-slow"}
	require.NoError(t, options.Validate())
	var asked []string
	for _, kind := range Kinds() {
		if options.asksFor(kind) {
			asked = append(asked, kind)
		}
	}
	require.Equal(t, []string{"kill", "kill-all", "clerks-slow", "shards-apart", "shards-stall", "shards-slow", "shards-break"}, asked)
	had := Result{Kinds: map[string]int{"kill-all": 1, "shards-slow": 2, "clerks-slow": 0}}
	require.Empty(t, had.lacks([]string{"kill", "shards", "shards-slow"}))
	require.Equal(t, "clerks-slow", had.lacks(options.Kinds), "a run that had none of a kind proves nothing about it")
}

func TestHowLargeGroupsGrow(t *testing.T) {
	for _, c := range []struct {
		options Options
		most    int
	}{
		{Options{Replicas: 3}, 5},
		{Options{Replicas: 5}, 7},
		{Options{Replicas: 6}, 7},
		{Options{Replicas: 7}, 7},
		{Options{Replicas: 3, Witness: true}, 4},
		{Options{Replicas: 4, Witness: true}, 4},
	} {
		require.Equal(t, c.most, c.options.largestGroup(), "%+v", c.options)
	}
}

func TestMembersAreKnownByTheirLives(t *testing.T) {
	members := []member{{Replica: 2, Incarnation: 1}, {Replica: 4, Incarnation: 17}}
	require.True(t, has(members, 4))
	require.False(t, has(members, 1))
	require.EqualValues(t, 17, lifeOf(members, 4))
	require.Zero(t, lifeOf(members, 3))
}

// A change that nobody waits for any more is ended, and leaves nothing behind.
func TestChangesThatAreGivenUp(t *testing.T) {
	r := &run{}
	require.NoError(t, r.settled(t.Context()), "none is on its way")
	wait := func() *changing {
		ctx, cancel := context.WithCancel(t.Context())
		c := &changing{cancel: cancel, done: make(chan error, 1)}
		go func() {
			<-ctx.Done()
			c.done <- context.Cause(ctx)
		}()
		return c
	}
	r.pending = wait()
	ended, end := context.WithCancel(t.Context())
	end()
	require.ErrorIs(t, r.settled(ended), context.Canceled)
	require.Nil(t, r.pending)
	r.pending = wait()
	require.NoError(t, r.close(), "it waits for what is on its way")
}
