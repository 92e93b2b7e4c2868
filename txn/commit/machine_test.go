package commit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

const (
	prepareBoth = "PrepareTxn 1, PrepareTxn 2"
	commitBoth  = "Answer committed, CommitTxn 1, CommitTxn 2"
)

// scriptTest is a script that the machine follows.
type scriptTest struct {
	name    string
	options Options
	shards  []txn.ShardID
	script  script
}

func both() []txn.ShardID { return []txn.ShardID{1, 2} }

func TestMachine(t *testing.T) {
	for _, tests := range [][]scriptTest{committing(), fencing(), copied(), dying(), cancelling()} {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) { require.NoError(t, play(t, test.options, test.shards, test.script)) })
		}
	}
}

func committing() []scriptTest {
	return []scriptTest{
		{"committed the moment all are prepared, END when all have applied it", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 2", ""},
			{"prepared 1", commitBoth},
			{"committed 1", ""},
			{"committed 2", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"CommitTxn is sent until it is answered", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"prepared 2", commitBoth},
			{"lost 1", "WantTimer 10"},
			{"committed 2", ""},
			{"timer", "CommitTxn 1"},
			{"certain 1", "WantTimer 20"},
			{"timer", "CommitTxn 1"},
			{"committed 1", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"CommitTxn is given up after so many tries, without END", Options{TriesMax: 2}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"prepared 2", commitBoth},
			{"committed 2", ""},
			{"lost 1", "WantTimer 10"},
			{"timer", "CommitTxn 1"},
			{"lost 1", "Done"},
		}},
		{"one participant, one round", Options{}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"one participant, answer lost, committed", Options{}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "Fence 1"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"one participant, answer lost, never arrived", Options{}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "Fence 1"},
			{"aborted:fenced 1", "WantTimestamp"},
			{"timestamp 20", "CommitOnePhase 1 attempt 2"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"a participant found committed speaks for all", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"lost 2", "Fence 2"},
			{"committed 2", commitBoth},
			{"prepared 1#1", ""},
			{"committed 1", ""},
			{"committed 2", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"a contradiction is reported", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"prepared 2", commitBoth},
			{"committed 1", ""},
			{"aborted 2", "Done contradiction"},
		}},
	}
}

func fencing() []scriptTest {
	return []scriptTest{
		{"a lost copy is fenced and found prepared", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"lost 2", "Fence 2"},
			{"prepared 2", commitBoth},
		}},
		{"a fence is repeated until it is answered", Options{TriesMax: 1}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"lost 2", "Fence 2"},
			{"lost 2", "WantTimer 10"},
			{"timer", "Fence 2"},
			{"refused:limit 2", "WantTimer 20"},
			{"timer", "Fence 2"},
			{"prepared 2", commitBoth},
		}},
		{"too old is for ever, whatever else was sent", Options{CopiesMax: 2}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "CommitOnePhase 1"},
			{"refused:too old 1", "WantTimestamp"},
		}},
		{"a wrong shard is fenced before the rerun", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"wrongshard 2", "Fence 2"},
			{"aborted:fenced 2", "AbortTxn 1, Answer aborted (wrong shard) rerun"},
		}},
		{"after the answer a fence is given up", Options{TriesMax: 1}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"lost 2", "Fence 2"},
			{"cancelled", "Answer unknown"},
			{"lost 2", "Done"},
		}},
	}
}

func copied() []scriptTest {
	return []scriptTest{
		{"a second copy rides over a change of primary", Options{CopiesMax: 2}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "CommitOnePhase 1"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"both copies lost", Options{CopiesMax: 2}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "CommitOnePhase 1"},
			{"lost 1", "Fence 1"},
			{"committed 1", "Answer committed, Done"},
		}},
		{"both copies refused, the first one late", Options{CopiesMax: 2}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "CommitOnePhase 1"},
			{"refused:read by later 1#2", "Fence 1"},
			{"refused:read by later 1#1", "WantTimestamp"},
		}},
		{"forgotten is unknown", Options{}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"lost 1", "Fence 1"},
			{"forgotten 1", "Answer unknown forgotten, Done"},
		}},
		{"forgotten here, aborted there", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"aborted:stale read 1", "AbortTxn 2, Answer aborted (stale read) rerun"},
			{"forgotten 2", ""},
			{"lost 2#2", "Done"},
		}},
		{"forgotten here and prepared there is for the terminators", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"lost 1", "Fence 1"},
			{"forgotten 1", "Answer unknown forgotten"},
			{"prepared 2", "Done"},
		}},
	}
}

func dying() []scriptTest {
	return []scriptTest{
		{"a stale read is run again, and all who may hold it are told", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"refused:stale read 1", "AbortTxn 2, Answer aborted (stale read) rerun"},
			{"aborted 2#3", ""},
			{"prepared 2#2", "Done"},
		}},
		{"a logged abort is not sent an abort", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"aborted:stale read 2", "AbortTxn 1, Answer aborted (stale read) rerun"},
			{"lost 1", "WantTimer 10"},
			{"timer", "AbortTxn 1"},
			{"aborted 1", "Done"},
		}},
		{"a late timestamp is answered by a new attempt with the same participants", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"refused:read by later 2", "AbortTxn 1, WantTimestamp"},
			{"timestamp 20", "PrepareTxn 1 attempt 2, PrepareTxn 2 attempt 2"},
			{"aborted 1#3", ""},
			{"prepared 1#4", ""},
			{"prepared 2#5", "Answer committed, CommitTxn 1 attempt 2, CommitTxn 2 attempt 2"},
		}},
		{"an overloaded shard is given a pause", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"refused:limit 2", "AbortTxn 1, WantTimer 10"},
			{"timer", "WantTimestamp"},
		}},
		{"attempts are counted", Options{AttemptsMax: 2}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"refused:read by later 1", "WantTimestamp"},
			{"timestamp 20", "CommitOnePhase 1 attempt 2"},
			{"refused:read by later 1", "Answer aborted (read by later) rerun, Done"},
		}},
		{"a copy that never left is no copy", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"certain 2", "AbortTxn 1, WantTimer 10"},
		}},
		{"what no attempt can mend is not tried again", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"hopeless 2", "AbortTxn 1, Answer aborted"},
		}},
		{"the reason that asks for a rerun goes before the one that does not", Options{CopiesMax: 2}, both(), script{
			{"timestamp 10", prepareBoth},
			{"lost 1", "PrepareTxn 1"},
			{"refused:conflict with prepared 1", "Fence 1"},
			{"refused:too old 2", "AbortTxn 1, Answer aborted (conflict with prepared) rerun"},
		}},
	}
}

func cancelling() []scriptTest {
	return []scriptTest{
		{"cancelled before anything was sent", Options{}, both(), script{
			{"cancelled", "Answer aborted, Done"},
			{"timestamp 10", ""},
		}},
		{"cancelled between two attempts", Options{}, []txn.ShardID{1}, script{
			{"timestamp 10", "CommitOnePhase 1"},
			{"refused:read by later 1", "WantTimestamp"},
			{"cancelled", "Answer aborted, Done"},
		}},
		{"cancelled while preparing, committed all the same", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"prepared 1", ""},
			{"cancelled", "Answer unknown"},
			{"prepared 2", "CommitTxn 1, CommitTxn 2"},
			{"committed 1", ""},
			{"committed 2", "EndTxn 1, EndTxn 2, Done"},
		}},
		{"cancelled while preparing, dead: no other attempt", Options{}, both(), script{
			{"timestamp 10", prepareBoth},
			{"cancelled", "Answer unknown"},
			{"refused:read by later 2", "AbortTxn 1"},
			{"cancelled", ""},
			{"aborted 1", ""},
			{"prepared 1#1", "Done"},
		}},
	}
}

func TestPrepareTxnCarriesThePartAndTheWholeList(t *testing.T) {
	p := newPlayer(t, Options{}, 1, 2)
	p.machine.Start()
	for i, action := range p.machine.Step(Timestamp{TS: 10}) {
		send := action.(Send)
		require.Equal(t, []txn.ShardID{1, 2}, send.Txn.Participants)
		require.Equal(t, p.machine.parts[i].Writes, send.Txn.Writes)
		require.Equal(t, txn.Attempt{ID: txn.TxnID{Sequence: 7, Home: 1}, Number: 1, TS: 10}, send.Txn.Attempt)
		require.EqualValues(t, 3, send.Txn.MapVersion)
	}
	require.EqualValues(t, 10, p.machine.Attempt().TS)
}

func TestNewRefuses(t *testing.T) {
	id := txn.TxnID{Home: 1}
	for _, test := range []struct {
		name    string
		options Options
		parts   []Part
		want    error
	}{
		{"nobody", Options{}, nil, ErrParts},
		{"too many", Options{}, make([]Part, txn.ParticipantsMax+1), ErrParts},
		{"no home", Options{}, []Part{{Shard: 2}}, ErrParts},
		{"twice", Options{}, []Part{{Shard: 1}, {Shard: 1}}, ErrParts},
		{"descending", Options{}, []Part{{Shard: 2}, {Shard: 1}}, ErrParts},
		{"attempts", Options{AttemptsMax: -1}, []Part{{Shard: 1}}, ErrOptions},
		{"copies", Options{CopiesMax: 9}, []Part{{Shard: 1}}, ErrOptions},
		{"tries", Options{TriesMax: -1}, []Part{{Shard: 1}}, ErrOptions},
		{"backoff", Options{BackoffMillisMin: 2000, BackoffMillisMax: 1000}, []Part{{Shard: 1}}, ErrOptions},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.options, id, test.parts, 1)
			require.ErrorIs(t, err, test.want)
		})
	}
}
