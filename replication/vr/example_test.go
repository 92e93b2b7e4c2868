package vr_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/vrtest"
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

func (f frozen) WriteTo(w io.Writer) (int64, error) { return 8, binary.Write(w, binary.BigEndian, f) }
func (frozen) Release()                             {}

// A replicated counter: three replicas in one process, two of which are enough.
func Example() {
	ctx := context.Background()
	group, err := vrtest.Start(3, func() replication.StateMachine { return &counter{} })
	if err != nil {
		panic(err)
	}
	defer func() { _ = group.Close() }()
	for _, n := range []uint64{1, 2, 39} {
		primary, _, _ := group.Primary(ctx)
		result := group.Propose(ctx, binary.AppendUvarint(nil, n))
		sum, _ := binary.Uvarint(result.Value)
		fmt.Println(sum, result.Err)
		if n == 2 {
			fmt.Println("the primary dies:", group.Kill(primary))
		}
	}
	// Output:
	// 1 <nil>
	// 3 <nil>
	// the primary dies: <nil>
	// 42 <nil>
}

// A group grows from one replica to three, and then bears the loss of the one that it began with.
func Example_growing() {
	ctx := context.Background()
	group, err := vrtest.Start(1, func() replication.StateMachine { return &counter{} })
	if err != nil {
		panic(err)
	}
	defer func() { _ = group.Close() }()
	fmt.Println("40 added:", group.Propose(ctx, binary.AppendUvarint(nil, 40)).Err)
	for range 2 {
		id, err := group.Add(ctx) // in another process: vr.Open with Joining
		fmt.Println("started:", id, err)
	}
	// A program calls Replica.Reconfigure at the primary, and again while the error is an ErrNewcomer.
	report, err := group.Reconfigure(ctx, 1, 2, 3)
	fmt.Println("epoch:", report.Epoch, err)
	fmt.Println("1 dies:", group.Kill(1))
	sum, _ := binary.Uvarint(group.Propose(ctx, binary.AppendUvarint(nil, 2)).Value)
	fmt.Println("sum:", sum)
	// Output:
	// 40 added: <nil>
	// started: 2 <nil>
	// started: 3 <nil>
	// epoch: 1 <nil>
	// 1 dies: <nil>
	// sum: 42
}
