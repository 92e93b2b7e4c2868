// Package clustertest starts a whole cluster for a test, in the test's own process and directory, and ends it with
// the test.
//
//	c := clustertest.Start(t, cluster.Options{})
//	connected := clustertest.Clerk(t, c)
//
// Everything else is the cluster's: Primary names who serves a group (0 the coordinator, from 1 on the shards), Transfer
// makes another replica that, Kill, Drain and Restart end and start one of its nodes, Pause and Resume make it hang,
// Cut, Partition, Isolate and Heal are for the network between its replicas, AddNode, RenewNode and ChangeMembers change the
// members of its groups, AwaitWhole waits until all have caught up. TestProgramThroughFaults of this package is an example.
//
// Tests of any program that uses viewline may import it. Its functions must be called from the test's goroutine.
package clustertest

import (
	"context"
	"testing"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
)

// startTimeout bounds how long a cluster may take to serve.
const startTimeout = 2 * time.Minute

// Start starts a cluster, by default of 3 coordinator replicas and 2 shards of 3, in the test's temporary directory
// unless the options name one. It fails the test if the cluster does not come up, and ends it when the test ends.
func Start(t testing.TB, options cluster.Options) *cluster.Cluster {
	t.Helper()
	if options.Directory == "" {
		options.Directory = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := cluster.Start(ctx, options)
	if err != nil {
		t.Fatalf("clustertest: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("clustertest: %v", err)
		}
	})
	return c
}

// Clerk connects a clerk, which is closed when the test ends.
func Clerk(t testing.TB, c *cluster.Cluster) *clerk.Clerk { return ClerkWith(t, c, clerk.Options{}) }

// ClerkWith is Clerk with options of the test's; the coordinator's addresses are filled in.
func ClerkWith(t testing.TB, c *cluster.Cluster, options clerk.Options) *clerk.Clerk {
	t.Helper()
	options.Coordinators = c.Endpoints()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	connected, err := clerk.Dial(ctx, options)
	if err != nil {
		t.Fatalf("clustertest: %v", err)
	}
	t.Cleanup(func() {
		if err := connected.Close(); err != nil {
			t.Errorf("clustertest: %v", err)
		}
	})
	return connected
}
