package txn

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTimestampParts(t *testing.T) {
	ts := TimestampAt(1234) + 5
	require.Equal(t, uint64(1234), ts.Millis())
	require.Equal(t, TimestampAt(1200)+5, ts.Before(34))
	require.Zero(t, ts.Before(1235), "never below zero")
	require.Equal(t, Timestamp(5), ts.Before(1234))
	require.Zero(t, ts.Before(1<<46), "nor around the corner")
	require.Zero(t, ts.Before(^uint64(0)))
}

func TestAttemptText(t *testing.T) {
	attempt := Attempt{ID: TxnID{Clerk: ClerkID{0xab, 15: 1}, Sequence: 7, Home: 3}, Number: 2, TS: 99}
	require.Equal(t, "ab000000000000000000000000000001-7-3.2@99", attempt.String())
	again, err := ParseAttempt(attempt.String())
	require.NoError(t, err)
	require.Equal(t, attempt, again)
	for _, text := range []string{
		"", "ab", "ab000000000000000000000000000001-7-3.2", "ab000000000000000000000000000001-7-3@99",
		"ab000000000000000000000000000001-7-0.2@99", "ab000000000000000000000000000001-7-3.0@99",
		"ab00000000000000000000000000000-7-3.2@99", "zz000000000000000000000000000001-7-3.2@99",
		"ab000000000000000000000000000001-7-4294967296.2@99", "ab000000000000000000000000000001-07-3.2@99",
		"ab000000000000000000000000000001-7-3.2@99 ", "ab000000000000000000000000000001-7-3-1.2@99",
	} {
		_, err := ParseAttempt(text)
		require.ErrorIs(t, err, ErrMalformedID, text)
	}
}

func FuzzParseAttempt(f *testing.F) {
	f.Add("ab000000000000000000000000000001-7-3.2@99")
	f.Fuzz(func(t *testing.T, text string) {
		attempt, err := ParseAttempt(text)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformedID)
			return
		}
		require.Equal(t, text, attempt.String())
	})
}

func TestCompareIsATotalOrder(t *testing.T) {
	ids := []TxnID{{}, {Home: 1}, {Sequence: 1}, {Sequence: 1, Home: 1}, {Clerk: ClerkID{15: 1}}, {Clerk: ClerkID{1}}}
	for i, a := range ids {
		for j, b := range ids {
			switch {
			case i < j:
				require.Negative(t, a.Compare(b))
			case i > j:
				require.Positive(t, a.Compare(b))
			default:
				require.Zero(t, a.Compare(b))
			}
		}
	}
}

func TestLimits(t *testing.T) {
	require.NoError(t, CheckOID("a"))
	require.NoError(t, CheckOID(string(make([]byte, OIDBytesMax))))
	require.NoError(t, CheckValue(make([]byte, ValueBytesMax)))
	for _, err := range []error{CheckOID(""), CheckOID(string(make([]byte, OIDBytesMax+1))), CheckValue(make([]byte, ValueBytesMax+1))} {
		require.ErrorIs(t, err, ErrLimit)
		var limit *LimitError
		require.True(t, errors.As(err, &limit))
		require.NotEqual(t, limit.Limit, limit.Actual)
		require.Contains(t, err.Error(), limit.Name)
	}
}

func TestEveryNameIsNamed(t *testing.T) {
	for s := StatusUnknown; s <= StatusForgotten; s++ {
		require.NotContains(t, s.String(), "status ")
	}
	for r := ReasonNone; r <= Invariant; r++ {
		require.NotContains(t, r.String(), "reason ")
	}
	require.Equal(t, "status 99", Status(99).String())
	require.Equal(t, "reason 99", Reason(99).String())
	require.Equal(t, "put", Put.String())
	require.Equal(t, "delete", Delete.String())
	require.Equal(t, "write kind 9", WriteKind(9).String())
}
