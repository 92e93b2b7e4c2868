package vr_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/vrtest"
)

// shown is a counter that others may read while it counts.
type shown struct {
	counter
	last atomic.Uint64
}

func (s *shown) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	results := s.counter.Apply(first, operations)
	s.last.Store(s.sum)
	return results
}

// Reads at any replica, whose state may be 100 ms old, or not at all: then the read is linearizable.
func ExampleReplica_ReadStale() {
	ctx := context.Background()
	group, err := vrtest.Start(3, func() replication.StateMachine { return &shown{} })
	if err != nil {
		panic(err)
	}
	defer func() { _ = group.Close() }()
	group.Propose(ctx, binary.AppendUvarint(nil, 42))
	for id := replication.ReplicaID(1); id <= 3; id++ {
		for _, atMost := range []time.Duration{0, 100 * time.Millisecond} {
			machine, staleness, err := group.ReadStale(ctx, id, atMost)
			if err != nil {
				panic(err)
			}
			fmt.Println(machine.(*shown).last.Load(), staleness.Age <= atMost)
		}
	}
	// Output:
	// 42 true
	// 42 true
	// 42 true
	// 42 true
	// 42 true
	// 42 true
}
