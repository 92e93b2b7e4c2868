package node

import (
	"context"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
)

// checkpointAbove is how many operations a replica may have to execute again when it starts: above that, Drain writes
// a checkpoint first. So many take a few milliseconds.
const checkpointAbove = 1000

// checkpoint has every replica of this node write a checkpoint, so that its next start has little to execute again. It
// is a courtesy like the handover: what is not written in time is in the log. A witness executes nothing.
func (n *Node) checkpoint(ctx context.Context) {
	var writing sync.WaitGroup
	defer writing.Wait()
	for group, hosted := range *n.replicas.Load() {
		status := hosted.Replicator.Status()
		if status.Failure != nil || status.Role == replication.RoleWitness || status.Applied <= status.Checkpoint+checkpointAbove {
			continue
		}
		writing.Go(func() {
			began := time.Now()
			if err := hosted.Replicator.Checkpoint(ctx); err != nil {
				n.options.Logger.Warn("no checkpoint before the end", "group", group, "error", err)
				return
			}
			n.options.Logger.Info("wrote a checkpoint before the end", "group", group, "op", status.Applied, "after", time.Since(began))
		})
	}
}
