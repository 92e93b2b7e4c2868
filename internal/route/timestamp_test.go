package route_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// oracle answers requests for timestamps, as many as asked for, when told to.
type oracle struct {
	mu     sync.Mutex
	next   uint64
	held   []received
	counts []uint32
}

func (o *oracle) handle(r received) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = append(o.held, r)
	o.counts = append(o.counts, r.GetTimestamps().GetCount())
}

// answer lets everything go that is held; the timestamps are handed out at this moment.
func (o *oracle) answer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.held {
		count := r.GetTimestamps().GetCount()
		r.answer(&pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: o.next + 1, Count: count}}})
		o.next += uint64(count)
	}
	o.held = nil
}

func (o *oracle) asked() []uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]uint32(nil), o.counts...)
}

// TestTimestampsAreShared: one request is under way at a time; whoever asks meanwhile shares the next one, which
// asks for exactly as many as wait; nobody gets a timestamp of a request sent before he asked.
func TestTimestampsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, r := start(t, "", nil)
		o := &oracle{next: 1000}
		c.handler(o.handle)
		var mu sync.Mutex
		got := map[txn.Timestamp]bool{}
		var working sync.WaitGroup
		ask := func(above uint64) {
			working.Go(func() {
				timestamp, err := r.Timestamp(t.Context())
				mu.Lock()
				defer mu.Unlock()
				require.NoError(t, err)
				require.Greater(t, uint64(timestamp), above)
				require.False(t, got[timestamp], "nobody else gets it")
				got[timestamp] = true
			})
			synctest.Wait()
		}
		ask(1000)
		for range 10 {
			ask(1001)
		}
		ctx, cancel := context.WithCancel(t.Context())
		working.Go(func() {
			_, err := r.Timestamp(ctx)
			require.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.Equal(t, []uint32{1}, o.asked())
		o.answer()
		synctest.Wait()
		require.Equal(t, []uint32{1, 10}, o.asked())
		ask(1011)
		o.answer()
		synctest.Wait()
		o.answer()
		working.Wait()
		require.Equal(t, []uint32{1, 10, 1}, o.asked())
		require.Len(t, got, 12)
		require.Equal(t, txn.Timestamp(1012), r.Bound(), "the bound is never below a timestamp")
	})
}

// TestTimestampsGoOnAfterFailures: a lost request is asked again, elsewhere if need be, as long as anybody waits.
func TestTimestampsGoOnAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, r := start(t, "", nil)
		c.handler(never)
		o := &oracle{next: 50}
		next := w.node("c2", nil)
		next.handler(func(q received) {
			o.handle(q)
			o.answer()
		})
		began := time.Now()
		timestamp, err := r.Timestamp(t.Context())
		require.NoError(t, err)
		require.Equal(t, txn.Timestamp(51), timestamp)
		require.Less(t, time.Since(began), 2*route.DefaultSharedTimeout)

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		next.handler(never)
		_, err = r.Timestamp(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestTimestampsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer *pb.Response
	}{
		{"zero", &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{Count: 1}}}},
		{"another count", &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: 20, Count: 2}}}},
		{"handed out before", &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: 10, Count: 1}}}},
		{"another body", &pb.Response{Body: &pb.Response_Bound{Bound: &pb.BoundResponse{Bound: 20}}}},
		{"no body", &pb.Response{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, node, r := start(t, "", nil)
				o := &oracle{next: 9}
				node.handler(func(q received) {
					o.handle(q)
					o.answer()
				})
				timestamp, err := r.Timestamp(t.Context())
				require.NoError(t, err)
				require.Equal(t, txn.Timestamp(10), timestamp)
				node.handler(func(q received) { q.answer(c.answer) })
				_, err = r.Timestamp(t.Context())
				require.ErrorIs(t, err, route.ErrInternal)
			})
		})
	}
}

func TestRefreshBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, r := start(t, "", nil)
		c.handler(func(q received) {
			q.answer(&pb.Response{Body: &pb.Response_Bound{Bound: &pb.BoundResponse{Bound: 77}}})
		})
		bound, err := r.RefreshBound(t.Context())
		require.NoError(t, err)
		require.Equal(t, txn.Timestamp(77), bound)
		require.Equal(t, txn.Timestamp(77), r.Bound())
	})
}

func TestReportPrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, r := start(t, "", nil)
		c.handler(func(q received) {
			q.answer(&pb.Response{Body: &pb.Response_ReportPrimary{ReportPrimary: &pb.ReportPrimaryResponse{}}})
		})
		members := []route.Member{{Replica: 4, Address: "x"}, {Replica: 5, Address: "y", Witness: true}}
		require.NoError(t, r.ReportPrimary(t.Context(), route.Primary{Group: 1, Epoch: 2, View: 3, Replica: 4, Address: "x"}, members))
		got := c.requests()[0].GetReportPrimary().GetPrimary()
		require.Equal(t, uint32(1), got.GetGroup())
		require.Equal(t, []uint64{2, 3, 4}, []uint64{got.GetEpoch(), got.GetView(), uint64(got.GetReplica())})
		require.Equal(t, "x", got.GetAddress())
		group := c.requests()[0].GetReportPrimary().GetGroup()
		require.Equal(t, []uint64{1, 2}, []uint64{uint64(group.GetId()), group.GetEpoch()})
		require.Len(t, group.GetMembers(), 2)
		require.True(t, group.GetMembers()[1].GetWitness())
		require.Equal(t, "y", group.GetMembers()[1].GetAddress())
		require.NoError(t, r.ReportPrimary(t.Context(), route.Primary{Group: 1, View: 3, Replica: 4, Address: "x"}, nil))
		require.Nil(t, c.requests()[1].GetReportPrimary().GetGroup(), "it does not say")
	})
}
