package replicationtest

import (
	"sync"

	"github.com/viewline/viewline/replication"
)

// views watches who leads which view, over all replicas of a group and all their lives.
type views struct {
	mu       sync.Mutex // guards leaders
	leaders  map[replication.ViewNumber]replication.ReplicaID
	watching sync.WaitGroup
}

// watch makes sure, until a replica is closed, that it leads no view that was led before, and later ones only.
func (v *views) watch(t T, id replication.ReplicaID, replica replication.Replicator) {
	complain := t.Errorf
	v.watching.Go(func() {
		last := replication.ViewNumber(0)
		for event := range replica.Events() {
			if !event.Leading {
				continue
			}
			if earlier, led := v.note(event.View, id); led || event.View <= last {
				complain("view %d is led by replica %d, and was led by %d; before it, %d", event.View, id, earlier, last)
			}
			last = event.View
		}
	})
}

// note remembers who leads a view, and returns who has led it before.
func (v *views) note(view replication.ViewNumber, id replication.ReplicaID) (earlier replication.ReplicaID, led bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	earlier, led = v.leaders[view]
	if v.leaders == nil {
		v.leaders = map[replication.ViewNumber]replication.ReplicaID{}
	}
	v.leaders[view] = id
	return earlier, led
}

// count is how many views were led.
func (v *views) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.leaders)
}

// wait returns when all replicas are closed.
func (v *views) wait() { v.watching.Wait() }
