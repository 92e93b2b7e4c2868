package raft

import (
	"fmt"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// messageOverhead is what a message and each of its entries take beside their bytes, at most.
const (
	messageOverhead = 256
	wireEntryBytes  = 64
)

// header is how hashicorp/raft names a replica in what it says. It is made where a message is received, of what the
// transport knows, so that nobody speaks for another.
func header(from peer) hraft.RPCHeader {
	return hraft.RPCHeader{ProtocolVersion: hraft.ProtocolVersionMax, ID: []byte(from.server()), Addr: []byte(from.address())}
}

// encodeAppend is a message of entries, or a heartbeat without any.
func encodeAppend(a *hraft.AppendEntriesRequest) *pb.RaftMessage {
	m := &pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Term: a.Term, Index: a.PrevLogEntry, IndexTerm: a.PrevLogTerm, Commit: a.LeaderCommitIndex,
	}
	if len(a.Entries) > 0 {
		m.Entries = make([]*pb.RaftEntry, len(a.Entries))
	}
	for i, entry := range a.Entries {
		m.Entries[i] = &pb.RaftEntry{Term: entry.Term, Type: uint32(entry.Type), Data: entry.Data, Extensions: entry.Extensions}
	}
	return m
}

// fit leaves as many entries in a message as go into so many bytes, and one at least. hashicorp/raft goes by what is in
// the message after it was sent.
func fit(a *hraft.AppendEntriesRequest, bytesMax int) {
	bytes := 0
	for i, entry := range a.Entries {
		bytes += len(entry.Data) + len(entry.Extensions) + wireEntryBytes
		if bytes > bytesMax && i > 0 {
			a.Entries = a.Entries[:i]
			return
		}
	}
}

// isHeartbeat: the library lets these pass by what its main loop is at.
func isHeartbeat(m *pb.RaftMessage) bool {
	return m.GetKind() == pb.RaftKind_RAFT_KIND_APPEND_ENTRIES && !m.GetAnswer() && m.GetIndex() == 0 && m.GetIndexTerm() == 0 &&
		len(m.GetEntries()) == 0 && m.GetCommit() == 0
}

// decode reads a message that has come from a replica.
func decode(payload []byte) (*pb.RaftMessage, error) {
	m := new(pb.RaftMessage)
	if err := proto.Unmarshal(payload, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if m.GetKind() < pb.RaftKind_RAFT_KIND_APPEND_ENTRIES || m.GetKind() > pb.RaftKind_RAFT_KIND_READ {
		return nil, fmt.Errorf("%w: kind %d", errMalformed, m.GetKind())
	}
	return m, nil
}

// command makes of a call what hashicorp/raft takes. It refuses what that library would not survive.
func command(from peer, m *pb.RaftMessage) (any, error) {
	switch m.GetKind() {
	case pb.RaftKind_RAFT_KIND_APPEND_ENTRIES:
		return decodeAppend(from, m)
	case pb.RaftKind_RAFT_KIND_REQUEST_VOTE:
		return &hraft.RequestVoteRequest{
			RPCHeader: header(from), Term: m.GetTerm(), LastLogIndex: m.GetIndex(), LastLogTerm: m.GetIndexTerm(), LeadershipTransfer: m.GetTransfer(),
		}, nil
	case pb.RaftKind_RAFT_KIND_PRE_VOTE:
		return &hraft.RequestPreVoteRequest{
			RPCHeader: header(from), Term: m.GetTerm(), LastLogIndex: m.GetIndex(), LastLogTerm: m.GetIndexTerm(),
		}, nil
	case pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT:
		if _, err := decodeConfiguration(m.GetConfiguration()); err != nil {
			return nil, err
		}
		if m.GetSize() > 1<<62 {
			return nil, fmt.Errorf("%w: a snapshot of %d bytes", errMalformed, m.GetSize())
		}
		return &hraft.InstallSnapshotRequest{
			RPCHeader: header(from), SnapshotVersion: hraft.SnapshotVersionMax, Term: m.GetTerm(), LastLogIndex: m.GetIndex(), LastLogTerm: m.GetIndexTerm(),
			Configuration: m.GetConfiguration(), ConfigurationIndex: m.GetConfigurationIndex(), Size: int64(m.GetSize()),
		}, nil
	default:
		return &hraft.TimeoutNowRequest{RPCHeader: header(from)}, nil
	}
}

func decodeAppend(from peer, m *pb.RaftMessage) (any, error) {
	a := &hraft.AppendEntriesRequest{
		RPCHeader: header(from), Term: m.GetTerm(), PrevLogEntry: m.GetIndex(), PrevLogTerm: m.GetIndexTerm(),
		LeaderCommitIndex: min(m.GetCommit(), m.GetIndex()+uint64(len(m.GetEntries()))),
	}
	if len(m.GetEntries()) > batchEntriesMax {
		return nil, fmt.Errorf("%w: %d entries", errMalformed, len(m.GetEntries()))
	}
	for i, entry := range m.GetEntries() {
		log := &hraft.Log{
			Index: m.GetIndex() + 1 + uint64(i), Term: entry.GetTerm(), Type: hraft.LogType(entry.GetType()),
			Data: entry.GetData(), Extensions: entry.GetExtensions(),
		}
		switch {
		case entry.GetTerm() > m.GetTerm() || entry.GetTerm() == 0 || log.Index == 0:
			return nil, fmt.Errorf("%w: entry %d of term %d in term %d", errMalformed, log.Index, entry.GetTerm(), m.GetTerm())
		case entry.GetType() > 255:
			return nil, fmt.Errorf("%w: entry of type %d", errMalformed, entry.GetType())
		}
		switch log.Type {
		case hraft.LogCommand, hraft.LogNoop, hraft.LogBarrier:
		case hraft.LogConfiguration:
			if _, err := decodeConfiguration(log.Data); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%w: entry of type %d", errMalformed, entry.GetType())
		}
		a.Entries = append(a.Entries, log)
	}
	return a, nil
}

// decodeConfiguration is the library's, which panics where this fails.
func decodeConfiguration(data []byte) (configuration hraft.Configuration, err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%w: configuration: %v", errMalformed, why)
		}
	}()
	return hraft.DecodeConfiguration(data), nil
}

// encodeResponse makes the answer to a call of what hashicorp/raft answers.
func encodeResponse(call *pb.RaftMessage, response any, failure error) *pb.RaftMessage {
	m := &pb.RaftMessage{Kind: call.GetKind(), Answer: true, Call: call.GetCall()}
	if failure != nil {
		m.Error = failure.Error()
		return m
	}
	switch r := response.(type) {
	case uint64:
		m.Index = r
	case *hraft.AppendEntriesResponse:
		m.Term, m.Index, m.Agree, m.NoRetryBackoff = r.Term, r.LastLog, r.Success, r.NoRetryBackoff
	case *hraft.RequestVoteResponse:
		m.Term, m.Agree = r.Term, r.Granted
	case *hraft.RequestPreVoteResponse:
		m.Term, m.Agree = r.Term, r.Granted
	case *hraft.InstallSnapshotResponse:
		m.Term, m.Agree = r.Term, r.Success
	}
	return m
}
