package raft

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// puppet is the Transport of replica 2 of three, where a test speaks for the others.
type puppet struct {
	t       *testing.T
	deliver func(from replication.ReplicaID, payload []byte)
	answers chan *pb.RaftMessage
	reads   chan *pb.RaftMessage // calls that ask how far everything goes
	calls   uint64
	state   []byte // of the snapshot that is fetched next
}

func newPuppet(t *testing.T) *puppet {
	return &puppet{t: t, answers: make(chan *pb.RaftMessage, 1000), reads: make(chan *pb.RaftMessage, 1000)}
}

func (p *puppet) Send(_ replication.ReplicaID, payload []byte) {
	switch m, err := decode(payload); {
	case err != nil:
	case m.GetAnswer():
		p.answers <- m
	case m.GetKind() == pb.RaftKind_RAFT_KIND_READ:
		p.reads <- m
	}
}

func (p *puppet) Reach(map[replication.ReplicaID]string) {}

func (p *puppet) Receive(deliver func(replication.ReplicaID, []byte)) { p.deliver = deliver }

func (p *puppet) ServeCheckpoints(OpenFunc) {}

func (p *puppet) FetchCheckpoint(context.Context, replication.ReplicaID, replication.CheckpointRequest) ([]byte, replication.ChunkReader, error) {
	return nil, &onePiece{data: p.state}, nil
}

// onePiece is a snapshot in one chunk.
type onePiece struct{ data []byte }

func (c *onePiece) Next() (replication.Chunk, error) {
	if c.data == nil {
		return replication.Chunk{}, io.EOF
	}
	data := c.data
	c.data = nil
	return replication.Chunk{Checksum: chunkChecksum(0, data), Data: data}, nil
}

func (c *onePiece) Close() error { return nil }

// call has replica 1 ask something, and returns the answer.
func (p *puppet) call(m *pb.RaftMessage) *pb.RaftMessage {
	p.t.Helper()
	p.calls++
	m.Call = p.calls
	payload, err := proto.Marshal(m)
	require.NoError(p.t, err)
	p.deliver(1, payload)
	for {
		select {
		case answer := <-p.answers:
			if answer.GetCall() == m.GetCall() {
				require.Empty(p.t, answer.GetError())
				return answer
			}
		case <-time.After(patience):
			require.FailNow(p.t, "no answer")
		}
	}
}

// install has replica 1 send a snapshot, as the leader of term 3.
func (p *puppet) install(index, term uint64, notes ...string) *pb.RaftMessage {
	p.t.Helper()
	p.state = stateOf(notes...)
	return p.call(&pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, Term: 3, Index: index, IndexTerm: term, Size: uint64(len(p.state)),
		Configuration: hraft.EncodeConfiguration(bootstrap(three())), ConfigurationIndex: 1,
	})
}

// extend has replica 1 send entries of term 3, as its leader.
func (p *puppet) extend(index, term, commit uint64, notes ...string) *pb.RaftMessage {
	p.t.Helper()
	m := &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Term: 3, Index: index, IndexTerm: term, Commit: commit}
	for _, note := range notes {
		m.Entries = append(m.Entries, &pb.RaftEntry{Term: 3, Data: []byte(note), Extensions: extension(3)})
	}
	return p.call(m)
}

// stateOf is a snapshot's state, of the group's first members.
func stateOf(notes ...string) []byte {
	members := firstMembership(three()).encode()
	state := append(binary.LittleEndian.AppendUint32([]byte{stateVersion}, uint32(len(members))), members...)
	return append(state, strings.Join(notes, "\n")+"\n"...)
}

func three() []replication.ReplicaID { return []replication.ReplicaID{1, 2, 3} }

// follower opens replica 2 on a storage, for a test to lead.
func follower(t *testing.T, storage *Storage) (*Replica, *puppet, *notes) {
	t.Helper()
	p, machine := newPuppet(t), &notes{}
	replica, err := Open(Options{
		Self: 2, Members: three(), Storage: storage, StateMachine: machine, Transport: p, ViewChangeTimeout: time.Hour,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = replica.Close() })
	return replica, p, machine
}

// left is a storage in term 2, with the configuration and then commands of these terms.
func left(t *testing.T, terms ...uint64) *Storage {
	t.Helper()
	storage := NewMemoryStorage()
	require.NoError(t, storage.bootstrap(three()))
	require.NoError(t, storage.stable.SetUint64([]byte(keyCurrentTerm), 2))
	for i, term := range terms {
		require.NoError(t, storage.logs.StoreLog(&hraft.Log{
			Index: uint64(i + 2), Term: term, Type: hraft.LogCommand, Data: []byte("its own"), Extensions: extension(replication.ViewNumber(term)),
		}))
	}
	return storage
}
