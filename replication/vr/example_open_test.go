package vr_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/vrtest"
)

// openReplica opens a replica of a group of three on a directory of its own. Create is done once in a replica's life,
// here because its life is one example long.
func openReplica(id replication.ReplicaID, network *vrtest.Network) (replica *vr.Replica, remove func(), err error) {
	directory, err := os.MkdirTemp("", "counter")
	if err != nil {
		return nil, nil, err
	}
	remove = func() { _ = os.RemoveAll(directory) }
	if err := storage.Create(directory); err != nil {
		return nil, remove, err
	}
	disk, err := storage.Open(directory, storage.Options{})
	if err != nil {
		return nil, remove, err
	}
	replica, err = vr.Open(vr.Options{
		Self: id, Members: []replication.ReplicaID{1, 2, 3}, Transport: network.Join(id), Storage: disk, StateMachine: &counter{},
	})
	if err != nil {
		_ = disk.Close() // still the caller's
	}
	return replica, remove, err
}

// Three replicas on disk. Each program that holds one reads its Events: only where the newest of them says Leading is
// an operation accepted, and only in that view.
func ExampleOpen() {
	type leader struct {
		replica *vr.Replica
		view    replication.ViewNumber
	}
	network, leaders := vrtest.NewNetwork(), make(chan leader, 3)
	for _, id := range []replication.ReplicaID{1, 2, 3} {
		replica, remove, err := openReplica(id, network)
		if err != nil {
			panic(err)
		}
		defer remove()
		defer func() { _ = replica.Close() }()
		go func() {
			for event := range replica.Events() { // until Close
				if event.Leading {
					select {
					case leaders <- leader{replica, event.View}:
					default: // the example needs one only
					}
				}
			}
		}()
	}

	primary := <-leaders
	for _, n := range []uint64{1, 2, 39} {
		result := replication.Propose(context.Background(), primary.replica, primary.view, binary.AppendUvarint(nil, n))
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
