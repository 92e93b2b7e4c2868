package clerk

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/txn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOptionsValidate(t *testing.T) {
	here := []string{"127.0.0.1:7000"}
	for _, c := range []struct {
		name    string
		options Options
		good    bool
	}{
		{"one coordinator", Options{Coordinators: here}, true},
		{"a name for loopback", Options{Coordinators: []string{"localhost:1"}}, true},
		{"IPv6 loopback", Options{Coordinators: []string{"[::1]:7000"}}, true},
		{"nobody", Options{}, false},
		{"no port", Options{Coordinators: []string{"127.0.0.1"}}, false},
		{"one of them bad", Options{Coordinators: []string{"127.0.0.1:1", "x"}}, false},
		{"plaintext to another machine", Options{Coordinators: []string{"10.0.0.1:7000"}}, false},
		{"plaintext to another machine, by name", Options{Coordinators: []string{"db.example:7000"}}, false},
		{"the same, allowed", Options{Coordinators: []string{"10.0.0.1:7000"}, Insecure: true}, true},
		{"a backoff that shrinks", Options{Coordinators: here, BackoffMin: 2, BackoffMax: 1}, false},
		{"a negative backoff", Options{Coordinators: here, BackoffMin: -1}, false},
		{"a large least backoff", Options{Coordinators: here, BackoffMin: time.Minute}, true},
		{"a negative bound", Options{Coordinators: here, BackgroundMax: -1}, false},
		{"a negative time", Options{Coordinators: here, DrainTimeout: -1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.options.Validate()
			if c.good {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrOptions)
		})
	}
}

func TestDefaultsKeepTheBackoffInOrder(t *testing.T) {
	options := Options{Coordinators: []string{"127.0.0.1:1"}, BackoffMin: time.Minute}
	options.setDefaults()
	require.Equal(t, time.Minute, options.BackoffMax)
	require.NoError(t, options.Validate())
}

func TestDialNobody(t *testing.T) {
	_, err := Dial(t.Context(), Options{})
	require.ErrorIs(t, err, ErrOptions)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, Options{Coordinators: []string{"127.0.0.1:1"}})
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestErrorsSayWhatHappened(t *testing.T) {
	attempt := txn.Attempt{ID: txn.TxnID{Home: 2, Sequence: 5}, Number: 1, TS: 9}
	other := txn.Attempt{ID: txn.TxnID{Home: 1, Sequence: 6}, Number: 3, TS: 8}
	aborted := error(&AbortedError{Attempt: attempt, Cause: context.Canceled, Verdict: txn.Verdict{
		Status: txn.StatusAborted, Reason: txn.StaleRead, OIDs: []string{"a key"}, Other: other, Shard: 2, View: 4,
	}})
	require.ErrorIs(t, aborted, ErrAborted)
	require.ErrorIs(t, aborted, context.Canceled)
	require.NotErrorIs(t, aborted, ErrOutcomeUnknown)
	for _, part := range []string{"stale read", `"a key"`, other.String(), "shard 2", "view 4", "canceled"} {
		require.Contains(t, aborted.Error(), part)
	}
	unknown := error(&UnknownError{Attempt: attempt, Cause: context.DeadlineExceeded})
	require.ErrorIs(t, unknown, ErrOutcomeUnknown)
	require.ErrorIs(t, unknown, context.DeadlineExceeded)
	require.NotErrorIs(t, unknown, ErrAborted)
	require.Contains(t, unknown.Error(), attempt.String())
	forgotten := error(&UnknownError{Attempt: attempt, Cause: ErrOutcomeForgotten})
	require.ErrorIs(t, forgotten, ErrOutcomeForgotten)
}
