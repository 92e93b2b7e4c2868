package clerk_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
)

// Schedule 16: T@100 writes what everybody views, and View@105 is there first, again and again. The writers, of one shard
// and of two, are passed over many times, and each gets through: an attempt that was read by later begins again with a new
// timestamp at once, and the views do not wait for each other's.
func TestWritersDoNotStarveUnderViews(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{})
	var passedOver, viewed atomic.Int64
	writer := clustertest.ClerkWith(t, c, clerk.Options{Hooks: clerk.Hooks{Committed: func(committed clerk.Committed) {
		passedOver.Add(int64(committed.Attempt.Number) - 1)
	}}})
	hot := []string{onShard(writer, 1, "hot/a"), onShard(writer, 2, "hot/b")}
	ctx, stop := context.WithCancel(t.Context())
	var viewers sync.WaitGroup
	t.Cleanup(func() {
		stop()
		viewers.Wait()
	})
	for range 3 {
		viewer := clustertest.Clerk(t, c)
		for range 16 {
			viewers.Go(func() {
				for ctx.Err() == nil {
					err := viewer.View(ctx, func(s *clerk.Snapshot) error {
						_, err := s.GetMulti(ctx, hot...)
						return err
					})
					if err == nil {
						viewed.Add(1)
					}
				}
			})
		}
	}
	writes := 0
	for ; writes < 10 || passedOver.Load() < 10; writes++ {
		oids, patient := hot[:1+writes%2], within(t)
		require.NoError(t, writer.Update(patient, func(tx *clerk.Txn) error {
			if _, err := tx.GetMulti(patient, oids...); err != nil {
				return err
			}
			for _, oid := range oids {
				if err := tx.Put(oid, []byte(strconv.Itoa(writes))); err != nil {
					return err
				}
			}
			return nil
		}), "write %d, %d attempts passed over", writes, passedOver.Load())
	}
	require.Greater(t, viewed.Load(), int64(writes), "there were views enough to be in the way")
	t.Logf("%d writes beside %d views, passed over %d times", writes, viewed.Load(), passedOver.Load())
}
