package clustertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
)

// TestProgramThroughFaults is what a test of a program that uses viewline looks like: a whole cluster, a clerk, and
// faults while the program works.
func TestProgramThroughFaults(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1})
	program := clustertest.Clerk(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shard := program.ShardOf("last fault")
	for name, fault := range map[string]struct {
		begin func(primary uint32) error
		end   func(primary uint32) error
	}{
		"killed and restarted": {
			begin: func(primary uint32) error { return c.Kill(shard, primary) },
			end:   func(primary uint32) error { return c.Restart(shard, primary) },
		},
		"cut off and healed": {
			begin: func(primary uint32) error { c.Isolate(shard, primary); return nil },
			end:   func(uint32) error { c.Heal(); return nil },
		},
		"paused and resumed": {
			begin: func(primary uint32) error { return c.Pause(shard, primary) },
			end:   func(primary uint32) error { return c.Resume(shard, primary) },
		},
		"drained and restarted": {
			begin: func(primary uint32) error { return c.Drain(ctx, shard, primary) },
			end:   func(primary uint32) error { return c.Restart(shard, primary) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, c.AwaitWhole(ctx))
			primary, err := c.Primary(ctx, shard)
			require.NoError(t, err)
			require.NoError(t, fault.begin(primary))
			require.NoError(t, program.Update(ctx, func(tx *clerk.Txn) error { return tx.Put("last fault", []byte(name)) }))
			require.NoError(t, fault.end(primary))
			value, err := program.Get(ctx, "last fault")
			require.NoError(t, err)
			require.Equal(t, name, string(value))
		})
	}
}
