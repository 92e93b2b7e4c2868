package vr_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// counter is a state machine: each operation is a number to add, its result the sum.
type counter struct{ sum uint64 }

func (c *counter) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		if n, width := binary.Uvarint(operation); width > 0 {
			c.sum += n
		} // what makes no sense adds nothing, on every replica alike
		results[i] = binary.AppendUvarint(nil, c.sum)
	}
	return results
}

func (c *counter) Snapshot() (replication.Snapshot, error) { return frozen(c.sum), nil }

func (c *counter) Restore(r io.Reader) error { return binary.Read(r, binary.BigEndian, &c.sum) }

// frozen is the counter's snapshot.
type frozen uint64

func (f frozen) WriteTo(w io.Writer) (int64, error) {
	return 8, binary.Write(w, binary.BigEndian, uint64(f))
}

func (frozen) Release() {}

// A replicated counter: three replicas on disk, in one process for the example's sake. The transport between them
// is the caller's; here it is the tests' own, which calls the other replica directly.
func ExampleOpen() {
	network := newNetwork()
	members := []replication.ReplicaID{1, 2, 3}
	var replicas []*vr.Replica
	for _, id := range members {
		directory, err := os.MkdirTemp("", "counter")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(directory) }()
		if err := storage.Create(directory); err != nil { // once in the replica's life
			panic(err)
		}
		disk, err := storage.Open(directory, storage.Options{})
		if err != nil {
			panic(err)
		}
		replica, err := vr.Open(vr.Options{
			Self: id, Members: members, Transport: network.join(core.ReplicaID(id)), Storage: disk, StateMachine: &counter{},
		})
		if err != nil {
			panic(err)
		}
		defer func() { _ = replica.Close() }()
		replicas = append(replicas, replica)
	}

	// Who leads says so; only there is an operation accepted.
	primary, event := leading(replicas)
	for _, n := range []uint64{1, 2, 39} {
		result := replication.Propose(context.Background(), primary, event.View, binary.AppendUvarint(nil, n))
		if result.Err != nil {
			panic(result.Err)
		}
		sum, _ := binary.Uvarint(result.Value)
		fmt.Println(sum)
	}
	// Output:
	// 1
	// 3
	// 42
}
