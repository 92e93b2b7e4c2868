package route

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

func denied(code pb.Code) event { return event{kind: refused, address: "a:1", code: code} }

func redirectedTo(address string) event {
	return event{kind: refused, address: "a:1", code: pb.Code_CODE_NOT_PRIMARY, redirect: address}
}

// courseCase is what happens to a request, and what is to be done after each event.
type courseCase struct {
	name    string
	resend  bool
	events  []event
	steps   []stepKind
	unknown bool
}

const (
	finish = stepFinish
	again  = stepAgain
	rest   = stepPause
)

func (c courseCase) run(t *testing.T) {
	way := course{resend: c.resend}
	var steps []stepKind
	for _, e := range c.events {
		steps = append(steps, way.next(e, backoff{min: time.Millisecond, max: time.Second}, 0).kind)
	}
	require.Equal(t, c.steps, steps)
	require.Equal(t, c.unknown, way.unknown)
}

func TestCourseOfWhatCertainlyDidNotHappen(t *testing.T) {
	down := event{kind: unreached, address: "a:1"}
	for _, c := range []courseCase{
		{name: "an answer ends it", events: []event{{kind: answered}}, steps: []stepKind{finish}},
		{name: "a redirect is followed at once", events: []event{redirectedTo("b:1"), {kind: answered}}, steps: []stepKind{again, finish}},
		{name: "a redirect to nobody is not", events: []event{redirectedTo("")}, steps: []stepKind{rest}},
		{name: "nor one to itself", events: []event{redirectedTo("a:1")}, steps: []stepKind{rest}},
		{
			name:   "nor one to who was just not reached",
			events: []event{{kind: unreached, address: "b:1"}, redirectedTo("b:1"), redirectedTo("b:1")},
			steps:  []stepKind{again, rest, again},
		},
		{
			name:   "replicas that point at each other make nobody run in circles",
			events: []event{redirectedTo("b:1"), redirectedTo("b:1"), redirectedTo("b:1"), redirectedTo("b:1"), redirectedTo("b:1")},
			steps:  []stepKind{again, again, again, rest, again},
		},
		{name: "who is not reached is passed by", events: []event{down, down, down, down}, steps: []stepKind{again, again, again, rest}},
		{name: "no serving primary yet", events: []event{denied(pb.Code_CODE_UNAVAILABLE)}, steps: []stepKind{rest}},
		{name: "overloaded", events: []event{denied(pb.Code_CODE_OVERLOADED)}, steps: []stepKind{rest}},
		{name: "no replica of the group there", events: []event{denied(pb.Code_CODE_UNKNOWN_GROUP)}, steps: []stepKind{rest}},
		{name: "wrong shard is the caller's business", events: []event{denied(pb.Code_CODE_WRONG_SHARD)}, steps: []stepKind{finish}},
		{name: "so is a malformed request", events: []event{denied(pb.Code_CODE_INVALID_ARGUMENT)}, steps: []stepKind{finish}},
		{name: "and a limit", events: []event{denied(pb.Code_CODE_LIMIT)}, steps: []stepKind{finish}},
		{name: "and another cluster", events: []event{denied(pb.Code_CODE_WRONG_CLUSTER)}, steps: []stepKind{finish}},
		{name: "and another version", events: []event{denied(pb.Code_CODE_VERSION)}, steps: []stepKind{finish}},
		{name: "and a timestamp of the future", events: []event{denied(pb.Code_CODE_FUTURE_TIMESTAMP)}, steps: []stepKind{finish}},
		{name: "and an old snapshot", events: []event{denied(pb.Code_CODE_SNAPSHOT_TOO_OLD)}, steps: []stepKind{finish}},
		{name: "time used up at the server", events: []event{denied(pb.Code_CODE_DEADLINE)}, steps: []stepKind{finish}},
		{name: "a failure inside the server is not tried again", resend: true, events: []event{denied(pb.Code_CODE_INTERNAL)}, steps: []stepKind{finish}},
		{name: "a code that is not known here is not tried again", resend: true, events: []event{denied(99)}, steps: []stepKind{finish}},
	} {
		t.Run(c.name, c.run)
	}
}

func TestCourseOfWhatMayHaveHappened(t *testing.T) {
	for _, c := range []courseCase{
		{
			name: "unknown at the server ends it", events: []event{denied(pb.Code_CODE_OUTCOME_UNKNOWN)},
			steps: []stepKind{finish}, unknown: true,
		},
		{
			name: "unless another copy does no harm", resend: true, events: []event{denied(pb.Code_CODE_OUTCOME_UNKNOWN), {kind: answered}},
			steps: []stepKind{rest, finish}, unknown: true,
		},
		{name: "written and broken is unknown", events: []event{{kind: broken}}, steps: []stepKind{finish}, unknown: true},
		{
			name: "unless another copy does no harm, which goes out at once", resend: true, events: []event{{kind: broken}, {kind: answered}},
			steps: []stepKind{again, finish}, unknown: true,
		},
		{
			name: "a certain refusal of a later copy says nothing about an earlier one", resend: true,
			events: []event{{kind: broken}, denied(pb.Code_CODE_WRONG_SHARD)}, steps: []stepKind{again, finish}, unknown: true,
		},
		{
			name: "nor does a deadline before the later copy was written", resend: true,
			events: []event{{kind: broken}, {kind: expired}}, steps: []stepKind{again, finish}, unknown: true,
		},
		{name: "expired unwritten is certain", events: []event{{kind: expired}}, steps: []stepKind{finish}},
		{name: "expired and written is unknown", events: []event{{kind: expired, written: true}}, steps: []stepKind{finish}, unknown: true},
		{name: "expired and written ends it, other copy or not", resend: true, events: []event{{kind: expired, written: true}}, steps: []stepKind{finish}, unknown: true},
		{name: "closed unwritten is certain", events: []event{{kind: ended}}, steps: []stepKind{finish}},
		{name: "closed and written is unknown", events: []event{{kind: ended, written: true}}, steps: []stepKind{finish}, unknown: true},
	} {
		t.Run(c.name, c.run)
	}
}

func TestCoursePausesDouble(t *testing.T) {
	way, pause := course{}, backoff{min: 10 * time.Millisecond, max: 60 * time.Millisecond}
	for _, want := range []time.Duration{10, 20, 40, 60, 60, 60} {
		want *= time.Millisecond
		s := way.next(denied(pb.Code_CODE_OVERLOADED), pause, uint64(want/2))
		require.Equal(t, step{kind: stepPause, pause: want}, s)
	}
}

func TestBackoffIsJitteredByHalfAndBounded(t *testing.T) {
	b := backoff{min: 10 * time.Millisecond, max: time.Second}
	for failures := range 100 {
		full := min(time.Second, b.min<<min(failures, 20))
		for _, random := range []uint64{0, 1, 12345678901, ^uint64(0)} {
			pause := b.pause(failures, random)
			require.GreaterOrEqual(t, pause, full/2)
			require.LessOrEqual(t, pause, full)
		}
	}
	require.Equal(t, time.Duration(0), backoff{}.pause(3, 7))
}
