package chaos

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster/process"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

const (
	// probesWaiting is how many questions a stopped primary finds in its sockets; a session takes 256.
	probesWaiting = 200
	// probeMillis is how long each may take.
	probeMillis = 5000
)

// probe asks one node directly, past every redirect, over a session of its own.
type probe struct {
	witness    *witness
	group      uint32
	place      *place // of the group's shard; nil for the coordinator
	connection *grpc.ClientConn
	stream     grpc.BidiStreamingClient[pb.SessionRequest, pb.SessionResponse]

	sent uint64
	open map[uint64]expected
	// answered and refused count what came after openProbe.
	answered, refused int
}

// expected is what an answer may not fall behind.
type expected struct{ acked, highest uint64 }

// openProbe opens the session and asks a first question, so that the node knows it. Its context bounds the whole
// life of the probe.
func (w *witness) openProbe(ctx context.Context, address string, group uint32, dial []grpc.DialOption) (*probe, error) {
	p := &probe{witness: w, group: group, open: map[uint64]expected{}}
	for _, candidate := range w.places {
		if uint32(candidate.shard) == group {
			p.place = candidate
		}
	}
	var err error
	dial = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, dial...)
	if p.connection, err = grpc.NewClient("passthrough:///"+address, dial...); err != nil {
		return nil, fmt.Errorf("chaos: probe: %w", err)
	}
	if p.stream, err = pb.NewSessionServiceClient(p.connection).Session(ctx); err == nil {
		if err = p.ask(ctx); err == nil {
			err = p.take()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("chaos: probe: %w", err), p.close())
	}
	p.answered, p.refused = 0, 0
	return p, nil
}

// ask sends one question.
func (p *probe) ask(ctx context.Context) error {
	request, err := p.question(ctx)
	if err != nil {
		return err
	}
	p.sent++
	request.Id, request.Group, request.RemainingMillis = p.sent, p.group, probeMillis
	now := expected{highest: p.witness.highest.Load()}
	if p.place != nil {
		now.acked = p.place.acked.Load()
	}
	p.open[p.sent] = now
	frame := &pb.SessionRequest{Requests: []*pb.Request{request}}
	if p.sent == 1 {
		frame.Version = 1
	}
	if err := p.stream.Send(frame); err != nil {
		return fmt.Errorf("chaos: probe: %w", err)
	}
	return nil
}

// question is a timestamp for the coordinator, and for a shard a Get of each kind in turn.
func (p *probe) question(ctx context.Context) (*pb.Request, error) {
	if p.place == nil {
		return &pb.Request{Body: &pb.Request_Timestamps{Timestamps: &pb.TimestampsRequest{Count: 1}}}, nil
	}
	oids := [][]byte{[]byte(p.place.oid)}
	if p.sent%2 == 0 {
		return &pb.Request{Body: &pb.Request_Read{Read: &pb.ReadRequest{Mode: pb.ReadMode_READ_MODE_LATEST, Oids: oids}}}, nil
	}
	var timestamp txn.Timestamp
	err := p.witness.clerk.View(ctx, func(s *clerk.Snapshot) error {
		timestamp = s.Timestamp()
		return nil
	})
	return &pb.Request{Body: &pb.Request_Snapshot{Snapshot: &pb.SnapshotRequest{Timestamp: uint64(timestamp), Oids: oids}}}, err
}

// take receives answers and judges them, at least one.
func (p *probe) take() error {
	for {
		frame, err := p.stream.Recv()
		if err != nil {
			return fmt.Errorf("chaos: probe: %w", err)
		}
		for _, response := range frame.GetResponses() {
			if err := p.judge(response); err != nil {
				return err
			}
		}
		if len(frame.GetResponses()) > 0 {
			return nil
		}
	}
}

func (p *probe) judge(response *pb.Response) error {
	then, known := p.open[response.GetId()]
	if !known {
		return fmt.Errorf("chaos: probe: answer %d to no question", response.GetId())
	}
	delete(p.open, response.GetId())
	switch body := response.GetBody().(type) {
	case *pb.Response_Error:
		p.refused++
		return refusal(body.Error)
	case *pb.Response_Timestamps:
		p.answered++
		p.witness.raise(txn.Timestamp(body.Timestamps.GetFirst()))
		return rising(body.Timestamps.GetFirst(), then.highest)
	case *pb.Response_Read:
		p.answered++
		return p.freshValue(body.Read.GetValues(), then)
	case *pb.Response_Snapshot:
		p.answered++
		return p.freshValue(body.Snapshot.GetValues(), then)
	default:
		return fmt.Errorf("chaos: probe: answer of kind %T", body)
	}
}

func (p *probe) freshValue(values []*pb.Value, then expected) error {
	if len(values) != 1 {
		return fmt.Errorf("chaos: probe: %d values", len(values))
	}
	return fresh(p.place.shard, parse(values[0].GetValue()), then.acked)
}

// refusal lets those refusals pass that a replica which lost its part has to give.
func refusal(e *pb.Error) error {
	switch e.GetCode() {
	case pb.Code_CODE_NOT_PRIMARY, pb.Code_CODE_UNAVAILABLE, pb.Code_CODE_OVERLOADED, pb.Code_CODE_DEADLINE, pb.Code_CODE_FUTURE_TIMESTAMP:
		return nil
	default:
		return fmt.Errorf("chaos: probe: refused: %v: %s", e.GetCode(), e.GetMessage())
	}
}

// leftQuestions is how many questions a replica that has left is asked.
const leftQuestions = 20

// refuses makes sure that a node whose replica is no member answers nothing.
func (r *run) refuses(ctx context.Context, node process.Node) (err error) {
	limited, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	p, err := r.watch.openProbe(limited, r.network.addressOf(node), node.Group, r.network.dialOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for range leftQuestions {
		if err := p.ask(limited); err != nil {
			return err
		}
	}
	for p.answered+p.refused < leftQuestions {
		if err := p.take(); err != nil {
			return err
		}
	}
	if p.answered > 0 {
		return fmt.Errorf("%w: %v, which has left, answered %d of %d questions", ErrMembers, node, p.answered, leftQuestions)
	}
	return nil
}

// finish asks until 1,000 questions are answered or refused.
func (p *probe) finish(ctx context.Context) error {
	for p.answered+p.refused < probesMin {
		for len(p.open) < probesWaiting && p.answered+p.refused+len(p.open) < probesMin {
			if err := p.ask(ctx); err != nil {
				return err
			}
		}
		if err := p.take(); err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) close() error { return p.connection.Close() }
