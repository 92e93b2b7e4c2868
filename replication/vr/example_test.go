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
