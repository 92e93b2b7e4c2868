package terminate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

type maker func(*testing.T, Options) *Machine

// scriptTest is a script that a machine follows.
type scriptTest struct {
	name    string
	make    maker
	options Options
	script  script
}

func TestMachine(t *testing.T) {
	for _, tests := range [][]scriptTest{terminating(), forgetting(), outcomes()} {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) { require.NoError(t, play(test.make(t, test.options), test.script)) })
		}
	}
}

func terminating() []scriptTest {
	return []scriptTest{
		{"all prepared: committed", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 2", ""},
			{"prepared 1", "Answer committed, CommitTxn 1, CommitTxn 2"},
			{"committed 1", ""},
			{"committed 2", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"any committed: committed, and only the others are told", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"committed 2", "Answer committed, CommitTxn 1"},
			{"prepared 1#1", ""},
			{"committed 1", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"any aborted: aborted", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"aborted 2", "Answer aborted, AbortTxn 1"},
			{"aborted 1", "Done"},
		}},
		{"fences and decisions are repeated", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"lost 2", "WantTimer 20"},
			{"timer", "Fence 2"},
			{"refused 2", "WantTimer 40"},
			{"timer", "Fence 2"},
			{"aborted 2", "Answer aborted, AbortTxn 1"},
			{"lost 1", "WantTimer 20"},
			{"timer", "AbortTxn 1"},
			{"forgotten 1", "Done"},
		}},
		{"a participant out of reach leaves it in doubt", terminator, Options{TriesMax: 2}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"lost 2", "WantTimer 20"},
			{"timer", "Fence 2"},
			{"lost 2", "Answer unknown, Done"},
		}},
		{"a commit without END is carried again", redrive, Options{}, script{
			{"start", "Answer committed, CommitTxn 1, CommitTxn 2"},
			{"committed 1", ""},
			{"lost 2", "WantTimer 20"},
			{"timer", "CommitTxn 2"},
			{"committed 2", "EndTxn 1, EndTxn 2, Done"},
		}},
	}
}

func forgetting() []scriptTest {
	return []scriptTest{
		{"forgotten, and still prepared here: aborted", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"forgotten 2", "Fence 1"},
			{"prepared 1#1", ""},
			{"prepared 1", "Answer aborted, AbortTxn 1, AbortTxn 2"},
			{"aborted 1", ""},
			{"forgotten 2", "Done"},
		}},
		{"forgotten, and committed here meanwhile", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"forgotten 2", "Fence 1"},
			{"committed 1", "Answer committed, CommitTxn 2"},
			{"forgotten 2", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"forgotten, and aborted here meanwhile", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"prepared 1", ""},
			{"forgotten 2", "Fence 1"},
			{"lost 1", "WantTimer 20"},
			{"timer", "Fence 1"},
			{"aborted 1", "Answer aborted, AbortTxn 2"},
			{"aborted 2", "Done"},
		}},
		{"forgotten everywhere", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"forgotten 1", ""},
			{"forgotten 2", "Fence 1"},
			{"forgotten 1", "Answer forgotten, Done"},
		}},
		{"a contradiction is reported", terminator, Options{}, script{
			{"start", "Fence 1, Fence 2"},
			{"aborted 1", "Answer aborted, AbortTxn 2"},
			{"committed 2", ""},
			{"lost 2#2", "Done contradiction"},
		}},
		{"a contradiction the other way is reported", redrive, Options{}, script{
			{"start", "Answer committed, CommitTxn 1, CommitTxn 2"},
			{"aborted 1", ""},
			{"aborted 1", ""},
			{"committed 2", "Done contradiction"},
		}},
	}
}

func outcomes() []scriptTest {
	return []scriptTest{
		{"outcome: home never heard of it", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"aborted 1", "Answer aborted, Done"},
		}},
		{"outcome: home has committed it", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"outcome: home holds it prepared", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"home 1", "Fence 2"},
			{"prepared 2", "Answer committed, CommitTxn 1, CommitTxn 2"},
			{"committed 1", ""},
			{"committed 2", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"outcome: the other never will", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"home 1", "Fence 2"},
			{"aborted 2", "Answer aborted, AbortTxn 1"},
			{"aborted 1", "Done"},
		}},
		{"outcome: the other has forgotten", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"home 1", "Fence 2"},
			{"forgotten 2", "Answer forgotten, Done"},
		}},
		{"outcome: home has forgotten", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"forgotten 1", "Answer forgotten, Done"},
		}},
		{"outcome: the clerk went on to a later attempt", outcome, Options{}, script{
			{"start", "Fence 1 and later"},
			{"later 1", "Fence 2 attempt 2"},
			{"prepared 2", "Answer committed, CommitTxn 1 attempt 2, CommitTxn 2 attempt 2"},
		}},
		{"outcome asks as long as somebody waits", outcome, Options{TriesMax: 1}, script{
			{"start", "Fence 1 and later"},
			{"lost 1", "WantTimer 20"},
			{"timer", "Fence 1 and later"},
			{"lost 1", "WantTimer 40"},
			{"cancelled", "Answer unknown"},
			{"timer", "Fence 1 and later"},
			{"lost 1", "Done"},
		}},
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		name         string
		options      Options
		participants []txn.ShardID
		want         error
	}{
		{"nobody", Options{}, nil, ErrParticipants},
		{"too many", Options{}, make([]txn.ShardID, txn.ParticipantsMax+1), ErrParticipants},
		{"not itself", Options{}, []txn.ShardID{2}, ErrParticipants},
		{"twice", Options{}, []txn.ShardID{1, 1}, ErrParticipants},
		{"tries", Options{TriesMax: -1}, []txn.ShardID{1}, ErrOptions},
		{"backoff", Options{BackoffMillisMin: 2000, BackoffMillisMax: 1000}, []txn.ShardID{1}, ErrOptions},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.options, 1, asked, test.participants)
			require.ErrorIs(t, err, test.want)
			_, err = NewRedrive(test.options, 1, asked, test.participants)
			require.ErrorIs(t, err, test.want)
		})
	}
	_, err := NewOutcome(Options{TriesMax: -1}, asked)
	require.ErrorIs(t, err, ErrOptions)
}
