package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/internal/notice"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// heartbeatsMax bounds the heartbeats that wait; the next one says the same.
const heartbeatsMax = 64

// rpc is the hraft.Transport of a replica: calls and answers as messages of a Transport. It carries nothing any more from
// the moment that it is cut.
type rpc struct {
	options   Options
	self      peer
	rounds    *rounds
	hearing   *hearing
	forgotten *forgotten
	notices   *notice.Log
	counters  *counters

	ctx      context.Context // ends with cut
	cutNow   context.CancelFunc
	running  sync.WaitGroup
	consumer chan hraft.RPC
	busy     atomic.Bool   // the library is at a call
	engaged  chan struct{} // has a token when it has begun with one

	// leads reports whether this replica is the leader of a term; set before the library runs.
	leads func(term uint64) bool
	// electorate is what is known here of who may stand for election; asked and told take an ASK and its answer, and do not
	// block.
	electorate  electorate
	asked, told func(from peer, m *pb.RaftMessage)
	// readIndex tells, as leader, how far everything goes; it does not block.
	readIndex func(done func(index uint64, err error))

	opened uint64 // says which time this replica is open

	mu     sync.Mutex      // guards what follows
	last   uint64          // the number of the last call
	others map[peer]uint64 // opened, of those who were heard
	calls  map[uint64]*call
	offers map[uint64]*offer
	// missed are those from whom something is waited for, each with a channel that is closed when it comes.
	missed map[peer]chan struct{}

	requests   *inbox
	heartbeats *inbox
}

var (
	_ hraft.Transport   = (*rpc)(nil)
	_ hraft.WithPreVote = (*rpc)(nil)
)

// call is one that has no answer yet.
type call struct {
	number uint64
	to     peer
	opened uint64 // its, as far as it was heard before the call; 0: it was not
	kind   pb.RaftKind
	answer chan *pb.RaftMessage // has room for it
}

func newRPC(o Options, r *rounds, f *forgotten, n *notice.Log, c *counters) *rpc {
	t := &rpc{
		options: o, self: o.self(), rounds: r, hearing: newHearing(), opened: rand.Uint64(), engaged: make(chan struct{}, 1), others: map[peer]uint64{}, forgotten: f, notices: n, counters: c, consumer: make(chan hraft.RPC), last: rand.Uint64(),
		calls: map[uint64]*call{}, offers: map[uint64]*offer{}, missed: map[peer]chan struct{}{},
		requests:   newInbox(o.MessagesMax, o.MessagesBytesMax),
		heartbeats: newInbox(heartbeatsMax, o.MessagesBytesMax),
	}
	t.ctx, t.cutNow = context.WithCancel(context.Background())
	return t
}

// start begins to receive. hashicorp/raft reads the consumer by now.
func (t *rpc) start() {
	t.running.Go(func() { t.serve(t.requests, t.handle) })
	t.running.Go(func() { t.serve(t.heartbeats, t.handleHeartbeat) })
	t.options.Transport.ServeCheckpoints(t.openOffer)
	t.options.Transport.Receive(t.receive)
}

// cut ends every call and every fetch; nothing leaves any more and nothing comes in. It does not wait.
func (t *rpc) cut() { t.cutNow() }

// stop waits until nothing of it runs.
func (t *rpc) stop() {
	t.cut()
	t.options.Transport.Receive(nil)
	t.options.Transport.ServeCheckpoints(nil)
	t.running.Wait()
}

// Consumer gives the calls of others.
func (t *rpc) Consumer() <-chan hraft.RPC { return t.consumer }

// LocalAddr is this replica's name.
func (t *rpc) LocalAddr() hraft.ServerAddress { return t.self.address() }

// EncodePeer is the library's business.
func (t *rpc) EncodePeer(id hraft.ServerID, _ hraft.ServerAddress) []byte { return []byte(id) }

// DecodePeer is the library's business.
func (t *rpc) DecodePeer(name []byte) hraft.ServerAddress { return hraft.ServerAddress(name) }

// SetHeartbeatHandler would be for calling the library about heartbeats beside its main loop (heartbeats.go).
func (t *rpc) SetHeartbeatHandler(func(hraft.RPC)) {}

// begin sends a call.
func (t *rpc) begin(id hraft.ServerID, m *pb.RaftMessage) (*call, error) {
	if t.ctx.Err() != nil {
		return nil, errCut
	}
	c := &call{to: peerOf(id), kind: m.GetKind(), answer: make(chan *pb.RaftMessage, 1)}
	t.mu.Lock()
	t.last++
	c.number, m.Call, c.opened = t.last, t.last, t.others[c.to]
	t.calls[c.number] = c
	t.mu.Unlock()
	if err := t.send(c.to, m); err != nil {
		t.end(c)
		return nil, err
	}
	return c, nil
}

func (t *rpc) end(c *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.calls, c.number)
}

func (t *rpc) send(to peer, m *pb.RaftMessage) error {
	m.Incarnation, m.ToIncarnation, m.Opened = t.self.incarnation, to.incarnation, t.opened
	payload, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("raft: encode: %w", err)
	}
	if t.ctx.Err() != nil {
		return errCut
	}
	t.counters.sent.add(m, len(payload))
	t.options.Transport.Send(to.id, payload)
	return nil
}

// await waits for the answer of a call, so long at most. ctx is the replica's, or ends with it.
func (t *rpc) await(ctx context.Context, c *call, timeout time.Duration) (*pb.RaftMessage, error) {
	defer t.end(c)
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case m := <-c.answer:
		if m.GetError() != "" {
			return nil, errors.New(m.GetError())
		}
		return m, nil
	case <-late.C:
		return nil, errNoAnswer
	case <-ctx.Done():
		return nil, errCut
	}
}

func (t *rpc) call(id hraft.ServerID, m *pb.RaftMessage) (*pb.RaftMessage, error) {
	return t.callWithin(id, m, t.options.RequestTimeout)
}

func (t *rpc) callWithin(id hraft.ServerID, m *pb.RaftMessage, timeout time.Duration) (*pb.RaftMessage, error) {
	c, err := t.begin(id, m)
	if err != nil {
		return nil, err
	}
	return t.await(t.ctx, c, timeout)
}

// AppendEntries sends entries or a heartbeat, and tells those who want to read when it was and what came back.
func (t *rpc) AppendEntries(id hraft.ServerID, _ hraft.ServerAddress, a *hraft.AppendEntriesRequest, response *hraft.AppendEntriesResponse) error {
	fit(a, t.options.BatchBytesMax)
	sent := t.rounds.now()
	m, err := t.call(id, encodeAppend(a))
	if errors.Is(err, errNoAnswer) && !isProbe(a) {
		t.awaitSign(peerOf(id), a.Term)
	}
	if err != nil {
		return err
	}
	t.appended(id, a, m, sent, response)
	return nil
}

// isProbe: it is a heartbeat, which goes on whatever becomes of it.
func isProbe(a *hraft.AppendEntriesRequest) bool {
	return a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// awaitSign waits until a replica that has not answered is heard again; heartbeats go on meanwhile. The library would try
// again by itself, ever less often: after a longer absence it would leave a replica without entries for 10 seconds.
func (t *rpc) awaitSign(from peer, term uint64) {
	t.mu.Lock()
	sign := t.missed[from]
	if sign == nil {
		sign = make(chan struct{})
		t.missed[from] = sign
	}
	t.mu.Unlock()
	look := time.NewTicker(t.options.ViewChangeTimeout)
	defer look.Stop()
	for t.leads(term) {
		select {
		case <-sign:
			return
		case <-look.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// heardFrom ends the waiting for a replica, and the calls that it cannot answer any more because it was opened again since.
func (t *rpc) heardFrom(from peer, opened uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, known := t.others[from]; !known || before != opened {
		t.reopened(from, opened)
	}
	if sign := t.missed[from]; sign != nil {
		close(sign)
		delete(t.missed, from)
	}
}

// reopened needs mu.
func (t *rpc) reopened(from peer, opened uint64) {
	if len(t.others) >= heardMax {
		clear(t.others)
	}
	t.others[from] = opened
	for number, c := range t.calls {
		switch {
		case c.to != from:
		case c.opened == 0:
			c.opened = opened
		case c.opened != opened:
			delete(t.calls, number)
			c.answer <- &pb.RaftMessage{Error: "raft: it was opened again since"}
		}
	}
}

func (t *rpc) appended(id hraft.ServerID, a *hraft.AppendEntriesRequest, m *pb.RaftMessage, sent uint64, response *hraft.AppendEntriesResponse) {
	*response = hraft.AppendEntriesResponse{
		RPCHeader: header(peerOf(id)), Term: m.GetTerm(), LastLog: m.GetIndex(), Success: m.GetAgree(), NoRetryBackoff: m.GetNoRetryBackoff(),
	}
	if m.GetTerm() == a.Term {
		t.rounds.acknowledged(id, a.Term, sent)
		if m.GetAgree() && !isProbe(a) {
			t.hearing.agreed(id, a.Term, a.PrevLogEntry+uint64(len(a.Entries)))
		}
	}
}

// RequestVote asks for a vote. A replica that has forgotten something is no candidate.
func (t *rpc) RequestVote(id hraft.ServerID, _ hraft.ServerAddress, v *hraft.RequestVoteRequest, response *hraft.RequestVoteResponse) error {
	if t.forgotten.any() {
		return ErrForgotten
	}
	m, err := t.call(id, &pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_REQUEST_VOTE, Term: v.Term, Index: v.LastLogIndex, IndexTerm: v.LastLogTerm, Transfer: v.LeadershipTransfer,
		Epoch: t.electorate.epoch(),
	})
	if err == nil {
		*response = hraft.RequestVoteResponse{RPCHeader: header(peerOf(id)), Term: m.GetTerm(), Granted: m.GetAgree()}
	}
	return err
}

// RequestPreVote asks whether a vote would be given.
func (t *rpc) RequestPreVote(id hraft.ServerID, _ hraft.ServerAddress, v *hraft.RequestPreVoteRequest, response *hraft.RequestPreVoteResponse) error {
	if t.forgotten.any() {
		return ErrForgotten
	}
	m, err := t.call(id, &pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_PRE_VOTE, Term: v.Term, Index: v.LastLogIndex, IndexTerm: v.LastLogTerm, Epoch: t.electorate.epoch(),
	})
	if err == nil {
		*response = hraft.RequestPreVoteResponse{RPCHeader: header(peerOf(id)), Term: m.GetTerm(), Granted: m.GetAgree()}
	}
	return err
}

// askIndex asks a leader how far everything goes. Who gets no answer asks again, maybe another one.
func (t *rpc) askIndex(leader hraft.ServerID) (uint64, error) {
	m, err := t.callWithin(leader, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_READ}, t.options.ViewChangeTimeout)
	return m.GetIndex(), err
}

// TimeoutNow has a replica start an election. While its answer is late it may stand already, and the library takes nothing
// whose outcome nobody would know then; so the answer has as long as an election.
func (t *rpc) TimeoutNow(id hraft.ServerID, _ hraft.ServerAddress, _ *hraft.TimeoutNowRequest, response *hraft.TimeoutNowResponse) error {
	patience := max(t.options.RequestTimeout, t.options.ViewChangeTimeout)
	_, err := t.callWithin(id, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_TIMEOUT_NOW}, patience)
	if err == nil {
		*response = hraft.TimeoutNowResponse{RPCHeader: header(peerOf(id))}
	}
	return err
}

// receive takes a message on any of the transport's goroutines.
func (t *rpc) receive(from replication.ReplicaID, payload []byte) {
	if t.ctx.Err() != nil {
		return
	}
	m, err := decode(payload)
	t.counters.received.add(m, len(payload))
	if err != nil {
		t.refuse(from, err)
		return
	}
	sender := peer{from, m.GetIncarnation()}
	switch {
	case m.GetKind() == pb.RaftKind_RAFT_KIND_ASK:
		t.exchange(sender, m)
		return
	case m.GetToIncarnation() != t.self.incarnation:
		t.refuse(from, errIncarnation)
		return
	}
	t.heardFrom(sender, m.GetOpened())
	t.hearing.note(sender)
	t.counters.hears(m)
	if m.GetAnswer() {
		t.answered(sender, m)
		return
	}
	if m.GetKind() == pb.RaftKind_RAFT_KIND_READ {
		t.readIndex(func(index uint64, err error) {
			_ = t.send(sender, encodeResponse(m, index, err)) // who asks waits no longer than it would without
		})
		return
	}
	box := t.requests
	if isHeartbeat(m) {
		box = t.heartbeats
	}
	if !box.put(incoming{from: sender, message: m, bytes: len(payload)}) {
		t.counters.messagesDropped.Add(1)
	}
}

// exchange takes an ASK, or the answer to one.
func (t *rpc) exchange(from peer, m *pb.RaftMessage) {
	switch {
	case !m.GetAnswer():
		t.hearing.note(from)
		t.asked(from, m)
	case m.GetToIncarnation() == t.self.incarnation:
		t.told(from, m)
	}
}

func (t *rpc) refuse(from replication.ReplicaID, err error) {
	t.notices.Warn("message refused", fmt.Sprint(from), "from", from, "error", err)
	if errors.Is(err, errIncarnation) {
		t.counters.refusedLife.Add(1)
	} else {
		t.counters.refusedMalformed.Add(1)
	}
}

// answered gives an answer to who waits for it; late ones are for nobody.
func (t *rpc) answered(from peer, m *pb.RaftMessage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[m.GetCall()]
	if c == nil || c.to != from || c.kind != m.GetKind() {
		return
	}
	delete(t.calls, c.number)
	c.answer <- m
}

// serve handles what is in an inbox, one after the other.
func (t *rpc) serve(box *inbox, handle func(incoming)) {
	for {
		in, ok := box.take(t.ctx)
		if !ok {
			return
		}
		handle(in)
	}
}

// handle has hashicorp/raft answer a call.
func (t *rpc) handle(in incoming) {
	if answer := t.preVote(in); answer != nil {
		_ = t.send(in.from, answer) // there will be another one
		return
	}
	call, end, err := t.prepare(in)
	if err != nil {
		_ = t.send(in.from, encodeResponse(in.message, nil, err)) // who asks waits no longer than it would without
		return
	}
	defer end()
	answers := make(chan hraft.RPCResponse, 1)
	call.RespChan = answers
	select {
	case t.consumer <- call:
	case <-t.ctx.Done():
		return
	}
	t.engage(in.message, true)
	defer t.engage(in.message, false)
	t.finish(in, answers)
}

// prepare makes a call out of a message; end lets go what it holds.
func (t *rpc) prepare(in incoming) (call hraft.RPC, end func(), err error) {
	if call.Command, err = command(in.from, in.message); err != nil {
		t.refuse(in.from.id, err)
		return call, nil, err
	}
	store := t.options.Storage.snapshots
	switch in.message.GetKind() {
	case pb.RaftKind_RAFT_KIND_APPEND_ENTRIES:
		store.leaveOut(call.Command)
	case pb.RaftKind_RAFT_KIND_REQUEST_VOTE, pb.RaftKind_RAFT_KIND_PRE_VOTE, pb.RaftKind_RAFT_KIND_TIMEOUT_NOW:
		if t.forgotten.any() {
			return call, nil, ErrForgotten
		}
		t.admit(in, call.Command)
	case pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT:
		if in.message.GetIndex() <= store.newestIndex() {
			call.Command = haveIt(in.from, in.message)
			return call, func() {}, nil
		}
		fetch, err := t.fetch(in.from.id, in.message)
		if err != nil {
			return call, nil, err
		}
		call.Reader = fetch
		return call, fetch.end, nil
	default:
	}
	return call, func() {}, nil
}

// callToken names a call where a snapshot is fetched.
func callToken(number uint64) []byte { return binary.LittleEndian.AppendUint64(nil, number) }
