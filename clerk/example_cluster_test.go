package clerk_test

import (
	"context"
	"errors"
	"log"
	"os"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
)

// exampleCluster runs the smallest cluster there is for one example, and connects a clerk to it. Tests have
// cluster/clustertest for that.
func exampleCluster() (ctx context.Context, connected *clerk.Clerk, end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	directory, err := os.MkdirTemp("", "viewline-example-")
	if err != nil {
		log.Fatal(err)
	}
	c, err := cluster.Start(ctx, cluster.Options{Directory: directory, Coordinators: 1, Shards: 1, Replicas: 1})
	if err != nil {
		log.Fatal(err)
	}
	connected, err = c.Clerk(ctx)
	if err != nil {
		log.Fatal(err)
	}
	return ctx, connected, func() {
		defer cancel()
		if err := errors.Join(connected.Close(), c.Close(), os.RemoveAll(directory)); err != nil {
			log.Fatal(err)
		}
	}
}
