package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// A shard of two states and a witness survives the loss of either state: the other one and the witness go on, and what
// was committed meanwhile, the one that comes back learns.
func TestAStateAndAWitnessGoOn(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 2, Witnesses: true, Tuning: cluster.Tuning{CheckpointEvery: 20}})
	connected := clustertest.Clerk(t, c)
	committed := 0
	more := func() {
		for range 40 {
			committed++
			require.NoError(t, connected.Update(within(t), func(tx *clerk.Txn) error {
				for shard := range 8 { // eight keys: on both shards
					if err := tx.Put(fmt.Sprintf("key/%d", shard), fmt.Appendf(nil, "%d", committed)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	more()
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	for _, lost := range []uint32{primary, 3 - primary, 3} {
		require.NoError(t, c.Kill(1, lost))
		more()
		require.NoError(t, c.Restart(1, lost))
		require.NoError(t, c.AwaitWhole(within(t)))
	}
	values, err := connected.GetMulti(within(t), "key/0", "key/1", "key/2", "key/3", "key/4", "key/5", "key/6", "key/7")
	require.NoError(t, err)
	for _, value := range values {
		require.Equal(t, fmt.Sprint(committed), string(value.Bytes))
	}
	requireTwoStates(t, c)
	for _, r := range c.Survey(within(t))[1:] {
		require.Equal(t, r.Replica == 3, r.Witness)
		require.Equal(t, r.Replica == 3, r.Role == "witness", r.Role)
	}
}

// requireTwoStates waits until the two states of each group are equal, and the witness has none.
func requireTwoStates(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	require.NoError(t, survey.Poll(within(t), func() error {
		replicas := c.SurveyStates(t.Context())
		for at := 1; at < len(replicas); at += 3 { // behind the only replica of the coordinator
			one, other, witness := replicas[at], replicas[at+1], replicas[at+2]
			if one.StateHash == "" || one.Applied != other.Applied {
				return fmt.Errorf("group %d: %q at %d and %d", one.Group, one.StateHash, one.Applied, other.Applied)
			}
			if one.StateHash != other.StateHash || witness.StateHash != "" {
				return survey.Final{Err: fmt.Errorf("group %d: states %s, %s and %q", one.Group, one.StateHash, other.StateHash, witness.StateHash)}
			}
		}
		return nil
	}))
}

// What a witness stores does not grow with what the others have: a piece of the log, and places in it instead of states.
func TestAWitnessStaysSmall(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1, Witnesses: true, Tuning: cluster.Tuning{CheckpointEvery: 20}})
	connected := clustertest.Clerk(t, c)
	const objects, size = 400, 16 << 10
	value := make([]byte, size)
	for n := range objects {
		require.NoError(t, connected.Put(within(t), fmt.Sprint(n), value))
		if n%40 == 39 { // however slow the disks of the others are: their checkpoints are what it waits for
			awaitCheckpoints(t, c, 1)
		}
	}
	state, witness := bytesOf(t, c.NodeDirectory(1, 1)), bytesOf(t, c.NodeDirectory(1, 3))
	t.Logf("%d bytes were put; replica 1 has %v, the witness %v", objects*size, state, witness)
	require.Greater(t, state.checkpoints, int64(objects*size*9/10))
	require.Less(t, witness.checkpoints, int64(8<<10), "a place in the log is a header")
	require.Less(t, witness.all, int64(objects*size/2))
}

// awaitCheckpoints waits until all replicas of a group, the witness too, have newer checkpoints than most of the log.
func awaitCheckpoints(t *testing.T, c *cluster.Cluster, group uint32) {
	t.Helper()
	require.NoError(t, survey.Poll(within(t), func() error {
		for _, r := range c.Survey(t.Context()) {
			if r.Group == group && r.Commit > r.Checkpoint+60 {
				return fmt.Errorf("replica %d: checkpoint %d of %d", r.Replica, r.Checkpoint, r.Commit)
			}
		}
		return nil
	}))
}

// stored is what a node's directory holds, in bytes.
type stored struct{ all, checkpoints int64 }

func bytesOf(t *testing.T, directory string) (s stored) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // replaced by a newer one meanwhile
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			s.all += info.Size()
			if strings.HasPrefix(entry.Name(), "checkpoint-") {
				s.checkpoints = max(s.checkpoints, info.Size())
			}
		}
		return err
	}))
	return s
}

// Whoever asks a witness is told where the primary is; it cannot become that; and it says what it is.
func TestAWitnessSendsOn(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 3, Shards: 1, Witnesses: true, Admin: true})
	for group := range uint32(2) {
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		_, err = c.Transfer(within(t), group, 3)
		require.ErrorIs(t, err, survey.ErrNotTransferred)
		require.ErrorContains(t, err, "replica 3 is a witness")

		addresses := map[uint32]string{}
		for _, r := range c.Survey(within(t)) {
			if r.Group == group {
				addresses[r.Replica] = r.Address
			}
		}
		connection, err := grpc.NewClient(addresses[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, connection.Close()) })
		for _, request := range []*pb.Request{
			{Id: 1, Body: &pb.Request_Read{Read: &pb.ReadRequest{Oids: [][]byte{[]byte("a")}}}},
			{Id: 2, Body: &pb.Request_Timestamps{Timestamps: &pb.TimestampsRequest{Count: 1}}},
		} {
			refusal := askOnce(t, connection, group, request).GetError()
			require.Equal(t, pb.Code_CODE_NOT_PRIMARY, refusal.GetCode())
			require.Equal(t, addresses[primary], refusal.GetPrimaryAddress())
			require.NotZero(t, refusal.GetView())
		}
		stream, err := pb.NewMapServiceClient(connection).WatchMap(within(t), &pb.WatchMapRequest{Version: 1})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, map[uint32]codes.Code{0: codes.Unavailable, 1: codes.Unimplemented}[group], status.Code(err))
	}
	// A clerk that knows the witness alone learns nothing; one that knows another too is not held up.
	connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: []string{c.Endpoints()[2], c.Endpoints()[0]}})
	require.NoError(t, err)
	require.NoError(t, errors.Join(connected.Put(within(t), "a", []byte("x")), connected.Close()))

	response, err := http.Get("http://" + c.AdminAddrs()[cluster.NodeName(1, 3)] + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	require.Contains(t, string(text), `viewline_replication_op_number{group="1",replica="3"}`)
	require.Contains(t, string(text), `viewline_serving{group="1",replica="3"} 0`)
	require.NotContains(t, string(text), "viewline_shard_")
}

// askOnce sends one request on a session of its own.
func askOnce(t *testing.T, connection *grpc.ClientConn, group uint32, request *pb.Request) *pb.Response {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	session, err := pb.NewSessionServiceClient(connection).Session(ctx)
	require.NoError(t, err)
	request.Group = group
	require.NoError(t, session.Send(&pb.SessionRequest{Version: 1, Requests: []*pb.Request{request}}))
	for {
		frame, err := session.Recv()
		require.NoError(t, err)
		if answers := frame.GetResponses(); len(answers) > 0 {
			return answers[0]
		}
	}
}
