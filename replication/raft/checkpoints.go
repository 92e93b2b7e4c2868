package raft

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

const (
	// checkpointsMax bounds the callers of Checkpoint that wait.
	checkpointsMax = 1024
	// snapshotRetry is how long after a snapshot that could not be begun at that moment the next try is.
	snapshotRetry = 10 * time.Millisecond
)

// callers are those who wait for the next checkpoint.
type callers struct {
	mu      sync.Mutex
	waiting []chan<- error // guarded by mu; each has room for its answer
	closed  error          // guarded by mu
}

func (c *callers) add(done chan<- error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed != nil:
		return c.closed
	case len(c.waiting) >= checkpointsMax:
		return replication.ErrOverloaded
	}
	c.waiting = append(c.waiting, done)
	return nil
}

func (c *callers) take() []chan<- error {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.waiting
	c.waiting = nil
	return waiting
}

func (c *callers) close(why error) {
	c.mu.Lock()
	waiting := c.waiting
	c.closed, c.waiting = why, nil
	c.mu.Unlock()
	for _, done := range waiting {
		done <- why
	}
}

// Checkpoint implements replication.Replicator. It returns at once when nothing was applied since the last one.
func (r *Replica) Checkpoint(ctx context.Context) error {
	done := make(chan error, 1)
	if err := r.callers.add(done); err != nil {
		return err
	}
	r.wantSnapshot()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wantSnapshot asks for one; it does not block.
func (r *Replica) wantSnapshot() {
	select {
	case r.snapshotDue <- struct{}{}:
	default: // it is asked for
	}
}

// writeSnapshots writes a snapshot whenever one is asked for.
func (r *Replica) writeSnapshots() {
	for {
		select {
		case <-r.snapshotDue:
			callers := r.callers.take()
			err := r.writeSnapshot()
			for _, done := range callers {
				done <- err
			}
		case <-r.stopping:
			return
		}
	}
}

// writeSnapshot has the library write one, and shorten the log (guard.DeleteRange).
func (r *Replica) writeSnapshot() error {
	for {
		if err := r.ended(); err != nil {
			return err
		}
		before := r.options.Storage.snapshots.newestIndex()
		if r.machine.applied.Load() <= before {
			return nil
		}
		err := r.raft.Snapshot().Error()
		switch {
		case err == nil:
			r.options.Logger.Info("snapshot written", "group", r.options.Group, "replica", r.options.Self, "op", r.options.Storage.snapshots.newestIndex())
			return nil
		case errors.Is(err, hraft.ErrNothingNewToSnapshot):
			return nil
		case r.options.Storage.snapshots.newestIndex() > before:
			continue // one was installed meanwhile
		case isNotNow(err):
		default:
			if ended := r.ended(); ended != nil {
				return ended
			}
			r.options.Logger.Warn("no snapshot", "group", r.options.Group, "replica", r.options.Self, "error", err)
			return err
		}
		select {
		case <-time.After(snapshotRetry):
		case <-r.stopping:
		}
	}
}

// isNotNow: a change of the configuration is not applied yet, or the leadership is being handed over.
func isNotNow(err error) bool {
	return errors.Is(err, hraft.ErrLeadershipTransferInProgress) || strings.HasPrefix(err.Error(), "cannot take snapshot now")
}
