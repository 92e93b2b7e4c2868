package shardserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/placement"
	"github.com/viewline/viewline/internal/wire"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// benchmarked is one shard over a twin of a group that costs next to nothing, in real time.
func benchmarked(b *testing.B) (*cluster, *Server) {
	ahead := txn.TimestampAt(uint64(time.Now().Add(time.Hour).UnixMilli())) // nobody asks for the bound
	c := &cluster{t: b, shards: map[txn.ShardID]*shard{}, slots: placement.Even([]uint32{1}), bound: ahead}
	c.start(1, 1, func(o *Options) {
		o.ThresholdLag, o.VersionHorizonLag = 2*time.Hour, 2*time.Hour
		o.RecordHorizonLag = 2 * time.Hour
	})
	b.Cleanup(c.close)
	c.shards[1].group.change(c.shards[1].group.members[0])
	server := c.shards[1].servers[0]
	require.Eventually(b, func() bool {
		status := &pb.ReplicaStatus{}
		server.Describe(status, true)
		return status.GetServing()
	}, 10*time.Second, time.Millisecond)
	return c, server
}

func BenchmarkUpdateRead(b *testing.B) {
	_, server := benchmarked(b)
	request := readRequest(updateMode, "object-1", "object-2")
	b.ReportAllocs()
	for b.Loop() {
		server.Handle(request, time.Time{}, func(*pb.Response) {})
	}
}

func BenchmarkSnapshotRead(b *testing.B) {
	c, server := benchmarked(b)
	request := snapshotRequest(c.stamp(), "object-1")
	b.ReportAllocs()
	for b.Loop() {
		server.Handle(request, time.Time{}, func(*pb.Response) {})
	}
}

// BenchmarkCommitOnePhase is a transaction that reads two and writes two of 10,000 objects, values of 128 bytes.
func BenchmarkCommitOnePhase(b *testing.B) {
	c, server := benchmarked(b)
	s, value := &sequence{}, string(make([]byte, 128))
	oids := make([]string, 10_000)
	for i := range oids {
		oids[i] = fmt.Sprintf("object-%06d", i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		j := i * 2 % len(oids)
		t := s.transaction(c.stamp(), []txn.ShardID{1}, value, oids[j], oids[j+1])
		for _, oid := range oids[j : j+2] {
			t.Reads = append(t.Reads, txn.ReadEntry{OID: oid, Shard: 1, At: 1 << 40})
		}
		message := wire.Transaction(t)
		for k, read := range message.GetReads() {
			newest := server.state.Read(string(read.GetOid()))
			message.Reads[k].Version, message.Reads[k].At = uint64(newest.Version), uint64(server.state.Applied())
		}
		committed := false
		request := &pb.Request{Body: &pb.Request_CommitOnePhase{CommitOnePhase: &pb.CommitOnePhaseRequest{Transaction: message}}}
		server.Handle(request, time.Time{}, func(response *pb.Response) {
			committed = response.GetVerdict().GetStatus() == pb.Status_STATUS_COMMITTED
		})
		if !committed {
			b.Fatal("not committed")
		}
	}
}
