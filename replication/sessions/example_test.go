package sessions_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
)

// sum is a state machine: each operation is a number to add, its result the sum.
type sum struct{ total uint64 }

func (s *sum) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		if n, width := binary.Uvarint(operation); width > 0 {
			s.total += n
		} // what makes no sense adds nothing, on every replica alike
		results[i] = binary.AppendUvarint(nil, s.total)
	}
	return results
}

func (s *sum) Snapshot() (replication.Snapshot, error) { return summed(s.total), nil }

func (s *sum) Restore(r io.Reader) error { return binary.Read(r, binary.BigEndian, &s.total) }

// summed is the snapshot of a sum.
type summed uint64

func (s summed) WriteTo(w io.Writer) (int64, error) {
	return 8, binary.Write(w, binary.BigEndian, uint64(s))
}

func (summed) Release() {}

// A sum that a client adds to. The network loses the first answer: the client repeats its request, and the sum is
// right.
func Example() {
	machine, err := sessions.New(&sum{}, sessions.Options{})
	if err != nil {
		panic(err)
	}
	replica, err := vr.Open(vr.Options{ // one replica, for the example's sake
		Self: 1, Members: []replication.ReplicaID{1}, Storage: storage.NewMemory(), StateMachine: machine,
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = replica.Close() }()
	view := (<-replica.Events()).View

	requests := 0
	client, err := sessions.NewClient(func(ctx context.Context, operation []byte) replication.Result {
		result := replication.Propose(ctx, replica, view, operation)
		if requests++; requests == 2 { // the first registers the session
			return replication.Result{Err: replication.ErrOutcomeUnknown}
		}
		return result
	}, sessions.ClientOptions{})
	if err != nil {
		panic(err)
	}
	for _, n := range []uint64{1, 2, 39} {
		reply, err := client.Do(context.Background(), binary.AppendUvarint(nil, n))
		if err != nil {
			panic(err)
		}
		total, _ := binary.Uvarint(reply.Value)
		fmt.Println(total)
	}
	fmt.Println(requests, "operations,", machine.Counters()["requests_repeated"], "of them a copy")
	// Output:
	// 1
	// 3
	// 42
	// 5 operations, 1 of them a copy
}
