package shardserver

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// checkpointOf writes a server's checkpoint.
func checkpointOf(t testing.TB, server *Server) *bytes.Buffer {
	t.Helper()
	snapshot, err := server.Machine().Snapshot()
	require.NoError(t, err)
	defer snapshot.Release()
	var written bytes.Buffer
	count, err := snapshot.WriteTo(&written)
	require.NoError(t, err)
	require.Equal(t, int64(written.Len()), count)
	return &written
}

// busyCheckpoint is the checkpoint of a shard that has some of everything.
func busyCheckpoint(t *testing.T) (checkpoint []byte, hash [32]byte) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1, func(o *Options) { o.InDoubtAge = time.Hour })
		defer c.close()
		server, s := c.shards[1].primary(), &sequence{}
		ts := s.put(t, c, 1, c.key(1, 0), "value")
		s.put(t, c, 1, c.key(1, 0), "newer")
		reader := s.transaction(c.stamp(), []txn.ShardID{1}, "", c.key(1, 1))
		reader.Reads = []txn.ReadEntry{{OID: c.key(1, 2), Shard: 1, At: locked(server, server.state.Applied)}}
		reader.Writes[0] = txn.WriteEntry{OID: c.key(1, 1), Kind: txn.Delete}
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, onePhaseRequest(reader)))
		several := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "prepared", c.key(1, 3))
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(several)))
		committed := s.transaction(c.stamp(), []txn.ShardID{1, 2}, "committed", c.key(1, 4))
		requireStatus(t, txn.StatusPrepared, txn.ReasonNone, ask(t, server, prepareRequest(committed)))
		requireStatus(t, txn.StatusCommitted, txn.ReasonNone, ask(t, server, commitRequest(committed.Attempt)))
		fenced := s.transaction(ts+1, []txn.ShardID{1, 2}, "fenced", c.key(1, 5))
		requireStatus(t, txn.StatusAborted, txn.Fenced, ask(t, server, fenceRequest(fenced.Attempt)))
		checkpoint, hash = checkpointOf(t, server).Bytes(), locked(server, server.state.Hash)
	})
	return checkpoint, hash
}

func otherReplica(t testing.TB) *Server {
	server, err := New(Options{Shard: 1, Replica: 2, Router: &cluster{}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

func TestCheckpointRestoresTheWholeState(t *testing.T) {
	checkpoint, hash := busyCheckpoint(t)
	kinds := map[string]int{}
	for reader := bytes.NewReader(checkpoint); ; {
		var record pb.CheckpointRecord
		err := protodelim.UnmarshalFrom(reader, &record)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch record.GetBody().(type) {
		case *pb.CheckpointRecord_Header:
			kinds["header"]++
		case *pb.CheckpointRecord_Object:
			kinds["object"]++
		case *pb.CheckpointRecord_Prepared:
			kinds["prepared"]++
		case *pb.CheckpointRecord_Decision:
			kinds["decision"]++
		case *pb.CheckpointRecord_ReadStamp:
			kinds["read stamp"]++
		case *pb.CheckpointRecord_End:
			kinds["end"]++
		}
	}
	require.Equal(t, map[string]int{"header": 1, "object": 3, "prepared": 1, "decision": 5, "read stamp": 1, "end": 1}, kinds)

	server := otherReplica(t)
	require.NoError(t, server.Machine().Restore(bytes.NewReader(checkpoint)))
	require.Equal(t, hash, locked(server, server.state.Hash))
	require.Equal(t, checkpoint, checkpointOf(t, server).Bytes())
}

// A snapshot stays as it was while later operations are applied.
func TestSnapshotIsWrittenBesideLaterOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, nil)
		defer c.close()
		server, s := c.shards[1].primary(), &sequence{}
		s.put(t, c, 1, c.key(1, 0), "before")
		want := checkpointOf(t, server).Bytes()
		snapshot, err := server.Machine().Snapshot()
		require.NoError(t, err)
		s.put(t, c, 1, c.key(1, 0), "after")
		s.put(t, c, 1, c.key(1, 1), "after")
		var written bytes.Buffer
		_, err = snapshot.WriteTo(&written)
		require.NoError(t, err)
		snapshot.Release()
		require.Equal(t, want, written.Bytes())
		require.NotEqual(t, want, checkpointOf(t, server).Bytes())
	})
}

func TestDamagedCheckpointIsRefused(t *testing.T) {
	checkpoint, _ := busyCheckpoint(t)
	server := otherReplica(t)
	before := server.state
	for cut := range checkpoint {
		err := server.Machine().Restore(bytes.NewReader(checkpoint[:cut]))
		require.ErrorIs(t, err, ErrCheckpoint, "cut off after %d bytes", cut)
	}
	extended := append(bytes.Clone(checkpoint), 0)
	require.ErrorIs(t, server.Machine().Restore(bytes.NewReader(extended)), ErrCheckpoint)
	twice := append(bytes.Clone(checkpoint), checkpoint...)
	require.ErrorIs(t, server.Machine().Restore(bytes.NewReader(twice)), ErrCheckpoint)
	failing := io.MultiReader(bytes.NewReader(checkpoint[:len(checkpoint)/2]), failingReader{})
	require.ErrorIs(t, server.Machine().Restore(failing), errReader)
	require.Same(t, before, server.state)
}

var errReader = errors.New("the reader failed")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errReader }

func TestCheckpointThatCannotBeIsRefused(t *testing.T) {
	header := func(change func(*pb.CheckpointHeader)) *pb.CheckpointRecord {
		message := &pb.CheckpointHeader{Version: checkpointVersion, Shard: 1}
		if change != nil {
			change(message)
		}
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Header{Header: message}}
	}
	object := func(kind pb.WriteKind, oid string) *pb.CheckpointRecord {
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Object{Object: &pb.CheckpointObject{
			Oid: []byte(oid), Versions: []*pb.CheckpointVersion{{Timestamp: 5, Kind: kind}},
		}}}
	}
	end := func(records uint64) *pb.CheckpointRecord {
		return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_End{End: &pb.CheckpointEnd{Records: records}}}
	}
	put := pb.WriteKind_WRITE_KIND_PUT
	for name, records := range map[string][]*pb.CheckpointRecord{
		"no header":         {end(0)},
		"object first":      {object(put, "x"), header(nil), end(2)},
		"two headers":       {header(nil), header(nil), end(2)},
		"wrong count":       {header(nil), object(put, "x"), end(1)},
		"no body":           {header(nil), {}, end(2)},
		"no kind":           {header(nil), object(0, "x"), end(2)},
		"kind 257":          {header(nil), object(257, "x"), end(2)},
		"empty oid":         {header(nil), object(put, ""), end(2)},
		"another version":   {header(func(h *pb.CheckpointHeader) { h.Version = 2 }), end(1)},
		"slots descend":     {header(func(h *pb.CheckpointHeader) { h.Owns, h.Slots = true, []uint32{2, 1} }), end(1)},
		"negative status":   {header(nil), decisionRecord(-1, 0), end(2)},
		"unknown status":    {header(nil), decisionRecord(9, 0), end(2)},
		"status 259":        {header(nil), decisionRecord(259, 0), end(2)},
		"unknown reason":    {header(nil), decisionRecord(3, 99), end(2)},
		"prepared nothing":  {header(nil), {Body: &pb.CheckpointRecord_Prepared{}}, end(2)},
		"stamp of nothing":  {header(nil), {Body: &pb.CheckpointRecord_ReadStamp{}}, end(2)},
		"decided nothing":   {header(nil), {Body: &pb.CheckpointRecord_Decision{}}, end(2)},
		"object of nothing": {header(nil), {Body: &pb.CheckpointRecord_Object{}}, end(2)},
	} {
		require.ErrorIs(t, otherReplica(t).Machine().Restore(streamOf(t, records...)), ErrCheckpoint, name)
	}
	other := streamOf(t, header(func(h *pb.CheckpointHeader) { h.Shard = 2 }), end(1))
	require.ErrorIs(t, otherReplica(t).Machine().Restore(other), ErrCheckpoint)
	require.NoError(t, otherReplica(t).Machine().Restore(streamOf(t, header(nil), object(put, "x"), end(2))))
}

func decisionRecord(status pb.Status, reason pb.Reason) *pb.CheckpointRecord {
	return &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Decision{Decision: &pb.CheckpointDecision{
		Attempt: prepareRequest(someTransaction()).GetPrepareTxn().GetTransaction().GetAttempt(), Status: status, Reason: reason,
	}}}
}

func streamOf(t testing.TB, records ...*pb.CheckpointRecord) *bytes.Buffer {
	var stream bytes.Buffer
	for _, record := range records {
		_, err := protodelim.MarshalTo(&stream, record)
		require.NoError(t, err)
	}
	return &stream
}

// FuzzRestore: a checkpoint is refused, or it is one that a state writes in the same way again.
func FuzzRestore(f *testing.F) {
	f.Add([]byte{})
	header := &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Header{Header: &pb.CheckpointHeader{
		Version: checkpointVersion, Shard: 1, Owns: true, Slots: []uint32{1, 2}, Applied: 9, LeadNumber: 1,
	}}}
	object := &pb.CheckpointRecord{Body: &pb.CheckpointRecord_Object{Object: &pb.CheckpointObject{
		Oid: []byte("x"), Versions: []*pb.CheckpointVersion{{Timestamp: 5, Installed: 3, Kind: 1, Value: []byte("v")}},
	}}}
	end := &pb.CheckpointRecord{Body: &pb.CheckpointRecord_End{End: &pb.CheckpointEnd{Records: 3}}}
	f.Add(streamOf(f, header, object, decisionRecord(3, 1), end).Bytes())
	f.Fuzz(func(t *testing.T, checkpoint []byte) {
		server := otherReplica(t)
		if err := server.Machine().Restore(bytes.NewReader(checkpoint)); err != nil {
			require.ErrorIs(t, err, ErrCheckpoint)
			return
		}
		written := checkpointOf(t, server).Bytes()
		again := otherReplica(t)
		require.NoError(t, again.Machine().Restore(bytes.NewReader(written)))
		require.Equal(t, locked(server, server.state.Hash), locked(again, again.state.Hash))
	})
}
