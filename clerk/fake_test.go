package clerk

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// fake is a node that is the coordinator and both shards, and says what it is told to. Shard 1 serves everything.
type fake struct {
	pb.UnimplementedSessionServiceServer
	pb.UnimplementedMapServiceServer
	// shard answers what the shards are asked; nil: never.
	shard func(*pb.Request) *pb.Response
	// coordinator answers questions for timestamps; nil: as a coordinator does.
	coordinator func(*pb.Request) *pb.Response

	// maps are told to whoever watches.
	maps chan *pb.ShardMap

	mu    sync.Mutex
	last  uint64
	asked int // requests to the shards
}

var fakeCluster = [16]byte{7}

// dialFake makes a clerk of a fake, inside the caller's synctest bubble.
func dialFake(t *testing.T, f *fake) *Clerk {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	pb.RegisterSessionServiceServer(server, f)
	pb.RegisterMapServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	c, err := Dial(t.Context(), Options{
		Coordinators: []string{"127.0.0.1:1"},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		})},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		server.Stop()
		require.NoError(t, <-served)
	})
	return c
}

func (f *fake) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// mapOf gives all slots to one of two shards.
func mapOf(version uint64, shard uint32) *pb.ShardMap {
	slots := make([]uint32, txn.SlotCount)
	for i := range slots {
		slots[i] = shard
	}
	members := []*pb.Member{{Replica: 1, Address: "127.0.0.1:1"}}
	return &pb.ShardMap{
		Version: version, Technique: pb.Technique_TECHNIQUE_HASH, Coordinator: &pb.Group{Members: members},
		Shards: []*pb.Group{{Id: 1, Members: members}, {Id: 2, Members: members}}, Slots: slots,
	}
}

func (f *fake) WatchMap(_ *pb.WatchMapRequest, stream grpc.ServerStreamingServer[pb.WatchMapResponse]) error {
	news := mapOf(1, 1)
	for {
		if err := stream.Send(&pb.WatchMapResponse{Cluster: fakeCluster[:], Map: news}); err != nil {
			return err
		}
		select {
		case news = <-f.maps:
		case <-time.After(time.Second):
			news = nil
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (f *fake) Session(stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) error {
	for {
		frame, err := stream.Recv()
		if err != nil {
			return err
		}
		answers := &pb.SessionResponse{Version: 1, Cluster: fakeCluster[:]}
		for _, request := range frame.GetRequests() {
			if answer := f.answer(request); answer != nil {
				answer.Id = request.GetId()
				answers.Responses = append(answers.Responses, answer)
			}
		}
		if err := stream.Send(answers); err != nil {
			return err
		}
	}
}

func (f *fake) answer(request *pb.Request) *pb.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wanted := request.GetTimestamps(); wanted != nil {
		if f.coordinator != nil {
			return f.coordinator(request)
		}
		first := f.last + 1
		f.last += uint64(wanted.GetCount())
		return &pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: first, Count: wanted.GetCount()}}}
	}
	f.asked++
	if f.shard == nil {
		return nil
	}
	return f.shard(request)
}

// refuse answers everything with an error.
func refuse(code pb.Code) func(*pb.Request) *pb.Response {
	return func(*pb.Request) *pb.Response {
		return &pb.Response{Body: &pb.Response_Error{Error: &pb.Error{Code: code}}}
	}
}

// TestReadsEndWithTheirContext: a shard that is silent keeps nobody who no longer wants an answer, however long the
// clerk would have waited for it.
func TestReadsEndWithTheirContext(t *testing.T) {
	for name, read := range map[string]func(context.Context, *Clerk) error{
		"Get":           func(ctx context.Context, c *Clerk) error { _, err := c.Get(ctx, "a"); return err },
		"GetLatest":     func(ctx context.Context, c *Clerk) error { _, err := c.GetLatest(ctx, "a"); return err },
		"Get to update": func(ctx context.Context, c *Clerk) error { _, err := c.Begin().Get(ctx, "a"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				c := dialFake(t, f)
				c.patienceOf(1).current = patienceMax
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					synctest.Wait()
					cancel()
				}()
				began := time.Now()
				err := read(ctx, c)
				require.ErrorIs(t, err, ErrUnavailable)
				require.ErrorIs(t, err, context.Canceled)
				require.Less(t, time.Since(began), 100*time.Millisecond)
				require.Equal(t, 1, f.requests())
			})
		})
	}
}

// TestOverloadHasAName: who was refused for lack of room learns that, and that nothing happened.
func TestOverloadHasAName(t *testing.T) {
	for name, work := range map[string]func(context.Context, *Clerk) error{
		"Get": func(ctx context.Context, c *Clerk) error { _, err := c.Get(ctx, "a"); return err },
		"Put": func(ctx context.Context, c *Clerk) error { return c.Put(ctx, "a", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{shard: refuse(pb.Code_CODE_OVERLOADED)}
				c := dialFake(t, f)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := work(ctx, c)
				require.ErrorIs(t, err, ErrOverloaded)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, ErrOutcomeUnknown)
				require.Equal(t, name == "Put", errors.Is(err, ErrAborted))
				require.Greater(t, f.requests(), 10, "it is tried again")
				require.Less(t, f.requests(), 1000, "after pauses")
			})
		})
	}
}

// TestOutcomeOfWhatCannotBe: what no other try would change ends the question at once, though nothing else would.
func TestOutcomeOfWhatCannotBe(t *testing.T) {
	for code, want := range map[pb.Code]error{
		pb.Code_CODE_FUTURE_TIMESTAMP: txn.ErrMalformedID,
		pb.Code_CODE_INVALID_ARGUMENT: ErrRefused,
		pb.Code_CODE_VERSION:          ErrRefused,
		pb.Code_CODE_WRONG_CLUSTER:    ErrRefused,
	} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := dialFake(t, &fake{shard: refuse(code)})
				_, err := c.Outcome(t.Context(), txn.Attempt{ID: txn.TxnID{Home: 1}, Number: 1, TS: 1 << 62})
				require.ErrorIs(t, err, want)
				require.NotErrorIs(t, err, ErrUnavailable)
			})
		})
	}
}

// TestWithoutATimestamp: when the coordinator fails in a way that another try would not change, that is said, and
// nothing was sent to any shard.
func TestWithoutATimestamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{coordinator: refuse(pb.Code_CODE_INTERNAL)}
		c := dialFake(t, f)
		_, err := c.Get(t.Context(), "a")
		require.ErrorIs(t, err, ErrUnavailable)
		err = c.Put(t.Context(), "a", nil)
		require.ErrorIs(t, err, ErrAborted)
		require.ErrorIs(t, err, ErrUnavailable)
		require.NotErrorIs(t, err, ErrRefused)
		require.Zero(t, f.requests())
	})
}

// TestOldMap: a clerk whose map is old is refused by the shard that no longer serves the object, until it hears of the
// new map. A commit is not tried at the new shard before the old one has made sure that it never takes it.
func TestOldMap(t *testing.T) {
	for name, work := range map[string]func(context.Context, *Clerk) error{
		"Get":       func(ctx context.Context, c *Clerk) error { _, err := c.Get(ctx, "a"); return err },
		"GetLatest": func(ctx context.Context, c *Clerk) error { _, err := c.GetLatest(ctx, "a"); return err },
		"Put":       func(ctx context.Context, c *Clerk) error { return c.Put(ctx, "a", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				moved := movedShard{maps: make(chan *pb.ShardMap, 1)}
				c := dialFake(t, &fake{shard: moved.answer, maps: moved.maps})
				require.NoError(t, work(t.Context(), c))
				require.Equal(t, uint32(2), c.ShardOf("a"))
				require.Positive(t, moved.refused)
				require.Equal(t, 1, moved.served)
				require.Equal(t, name == "Put", moved.fenced)
			})
		})
	}
}

// movedShard has everything at shard 2, and tells the map of that when shard 1 is asked for something.
type movedShard struct {
	maps            chan *pb.ShardMap
	refused, served int
	fenced          bool
}

func (m *movedShard) answer(request *pb.Request) *pb.Response {
	verdict := func(status pb.Status, reason pb.Reason, attempt *pb.Attempt) *pb.Response {
		return &pb.Response{Body: &pb.Response_Verdict{Verdict: &pb.Verdict{
			Status: status, Reason: reason, Shard: request.GetGroup(), Attempt: attempt.GetNumber(), Timestamp: attempt.GetTimestamp(),
		}}}
	}
	if fence := request.GetFence(); fence != nil {
		m.fenced = true
		return verdict(pb.Status_STATUS_ABORTED, pb.Reason_REASON_FENCED, fence.GetAttempt())
	}
	if request.GetGroup() == 1 {
		if m.refused++; m.refused == 1 {
			m.maps <- mapOf(2, 2)
		}
		return refuse(pb.Code_CODE_WRONG_SHARD)(request)
	}
	m.served++
	values := []*pb.Value{{Present: true}}
	switch {
	case request.GetCommitOnePhase() != nil && !m.fenced:
		return refuse(pb.Code_CODE_INVALID_ARGUMENT)(request)
	case request.GetCommitOnePhase() != nil:
		return verdict(pb.Status_STATUS_COMMITTED, 0, request.GetCommitOnePhase().GetTransaction().GetAttempt())
	case request.GetSnapshot() != nil:
		return &pb.Response{Body: &pb.Response_Snapshot{Snapshot: &pb.SnapshotResponse{Values: values}}}
	default:
		return &pb.Response{Body: &pb.Response_Read{Read: &pb.ReadResponse{Values: values}}}
	}
}
