package sessions

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// answers returns real answers of a table for a request, by name.
func answers(t *testing.T) map[string][]byte {
	tbl := table.New(table.Options{WindowMax: 4, SessionReplyBytesMax: 12})
	r := func(session, number, acknowledged uint64, operation string) []byte {
		return table.Request{Session: session, Number: number, Acknowledged: acknowledged, Operation: []byte(operation)}.Encode()
	}
	got, err := tbl.Apply(1, [][]byte{
		table.Register(0), r(1, 1, 1, "a"), r(1, 2, 1, "long"), r(1, 2, 1, ""), r(1, 3, 3, "c"), r(1, 1, 1, ""), r(1, 8, 3, ""), r(2, 1, 1, ""), nil,
	}, func(_ uint64, operations [][]byte) [][]byte { return operations })
	require.NoError(t, err)
	return map[string][]byte{
		"registered": got[0], "executed": got[1], "reply dropped": got[3], "below": got[5], "above": got[6], "session dropped": got[7],
		"malformed": got[8], "junk": []byte("junk"), "nothing": nil,
	}
}

func TestCourse(t *testing.T) {
	answers := answers(t)
	closed, overloaded := fmt.Errorf("here: %w", replication.ErrClosed), fmt.Errorf("here: %w", replication.ErrOverloaded)
	for _, test := range []struct {
		name     string
		register bool
		answer   string
		err      error
		first    verdict // when it is the first attempt
		later    verdict // when an earlier one is unknown
		reason   error
	}{
		{name: "executed", answer: "executed", first: verdictHappened, later: verdictHappened},
		{name: "reply dropped", answer: "reply dropped", first: verdictHappened, later: verdictHappened},
		{name: "registered", register: true, answer: "registered", first: verdictHappened, later: verdictHappened},
		{name: "session dropped", answer: "session dropped", first: verdictDidNot, later: verdictUnknown, reason: ErrSessionDropped},
		{name: "below", answer: "below", first: verdictDidNot, later: verdictUnknown, reason: ErrBelowWindow},
		{name: "above", answer: "above", first: verdictDidNot, later: verdictUnknown, reason: ErrAboveWindow},
		{name: "malformed", answer: "malformed", first: verdictDidNot, later: verdictUnknown, reason: ErrMalformed},
		{name: "no table", answer: "junk", first: verdictUnknown, later: verdictUnknown, reason: ErrNoTable},
		{name: "nothing", answer: "nothing", first: verdictUnknown, later: verdictUnknown, reason: ErrNoTable},
		{name: "a session for a request", answer: "registered", first: verdictUnknown, later: verdictUnknown, reason: ErrNoTable},
		{name: "a reply for a Register", register: true, answer: "executed", first: verdictUnknown, later: verdictUnknown, reason: ErrNoTable},
		{name: "unknown", err: replication.ErrOutcomeUnknown, first: verdictAgain, later: verdictAgain, reason: replication.ErrOutcomeUnknown},
		{name: "not primary", err: &replication.NotPrimaryError{View: 3}, first: verdictAgain, later: verdictAgain, reason: replication.ErrNotPrimary},
		{name: "overloaded", err: overloaded, first: verdictDidNot, later: verdictAgain, reason: replication.ErrOverloaded},
		{name: "closed", err: closed, first: verdictDidNot, later: verdictUnknown, reason: replication.ErrClosed},
		{name: "too large", err: replication.ErrTooLarge, first: verdictDidNot, later: verdictUnknown, reason: replication.ErrTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			hoped := table.StatusExecuted
			if test.register {
				hoped = table.StatusRegistered
			}
			for _, unknown := range []bool{false, true} {
				c := course{unknown: unknown}
				verdict, _, err := c.judge(hoped, replication.Result{Value: answers[test.answer], Err: test.err})
				want := test.first
				if unknown {
					want = test.later
				}
				require.Equal(t, want, verdict, "after an unknown attempt: %v", unknown)
				require.ErrorIs(t, err, test.reason)
				inDoubt := unknown || errorIsUnknown(test.err) || errors.Is(test.reason, ErrNoTable)
				require.Equal(t, inDoubt, c.unknown)
				if c.unknown {
					require.Equal(t, verdictUnknown, c.ended())
				} else {
					require.Equal(t, verdictDidNot, c.ended())
				}
			}
		})
	}
}

func errorIsUnknown(err error) bool { return err != nil && !replication.DidNotHappen(err) }

func TestNumbers(t *testing.T) {
	n := newNumbers(3)
	take := func(number, acknowledged uint64) {
		t.Helper()
		gotNumber, gotAcknowledged, ok := n.take()
		require.True(t, ok)
		require.Equal(t, []uint64{number, acknowledged}, []uint64{gotNumber, gotAcknowledged})
	}
	full := func(stuck bool) {
		t.Helper()
		_, _, ok := n.take()
		require.False(t, ok)
		require.Equal(t, stuck, n.stuck())
	}
	take(1, 1)
	take(2, 1)
	take(3, 1)
	full(false)
	n.settle(2)
	full(false) // 1 is waited for
	n.settle(1)
	require.False(t, n.stuck())
	take(4, 3)
	take(5, 3)
	n.leave(4)
	full(false) // 3 will be known
	n.settle(3)
	take(6, 4)
	full(true)  // nobody waits for 4
	n.settle(1) // long done
	n.settle(9) // never taken
	n.leave(9)
	full(true)
	n.settle(4) // somebody asked
	take(7, 5)
	n.settle(5)
	n.settle(6)
	n.settle(7)
	take(8, 8)
}

func TestClientOptionsAreValidated(t *testing.T) {
	propose := func(context.Context, []byte) replication.Result { return replication.Result{} }
	for says, options := range map[string]ClientOptions{
		"InFlightMax is -1":                  {InFlightMax: -1},
		"InFlightMax is 1025":                {InFlightMax: 1025},
		"BackoffMin is negative":             {BackoffMin: -1},
		"BackoffMax is 1ms":                  {BackoffMax: time.Millisecond},
		"BackoffMax is 2h0m0s":               {BackoffMax: 2 * time.Hour},
		"BackoffMax is 2562047h47m16.854775": {BackoffMin: 1<<63 - 1},
	} {
		_, err := NewClient(propose, options)
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, says)
	}
	_, err := NewClient(nil, ClientOptions{})
	require.ErrorIs(t, err, ErrOptions)
}

func TestPausesGrowAndAreBounded(t *testing.T) {
	for _, random := range []uint64{0, 1<<64 - 1, 12345678901} {
		o := ClientOptions{BackoffMin: 3 * time.Millisecond, BackoffMax: 40 * time.Millisecond, Rand: func() uint64 { return random }}.withDefaults()
		for failures, most := range []time.Duration{3, 6, 12, 24, 40, 40, 40} {
			pause := o.pause(failures)
			require.LessOrEqual(t, pause, most*time.Millisecond)
			require.GreaterOrEqual(t, pause, most*time.Millisecond/2)
		}
		require.LessOrEqual(t, o.pause(1<<62), 40*time.Millisecond)
	}
}
