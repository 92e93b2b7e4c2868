package node

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// call is one request that a handler has.
type call struct {
	session  *session
	host     *Replica
	id       uint64
	answered atomic.Bool
}

// respond takes the handler's answer, the first time.
func (c *call) respond(response *pb.Response) {
	if !c.answered.CompareAndSwap(false, true) {
		c.session.node.counters.repeatedAnswers.Add(1)
		return
	}
	s := c.session
	if response == nil || response.GetBody() == nil {
		response = &pb.Response{Body: &pb.Response_Error{Error: &pb.Error{
			Code: pb.Code_CODE_INTERNAL, Message: "the handler gave no answer",
		}}}
	}
	c.host.addPrimary(response)
	response.Id = c.id
	response = limited(response)
	// In one step: who finds nothing pending finds every answer in the writer's queue, and a client that has
	// an answer may use its id again.
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, c.id)
	s.put(response)
	s.signalIdle()
}

// put queues an answer. One that does not fit is replaced, if the request had no effect, by a refusal, and
// otherwise costs the client its session: it must not believe that nothing happened. The caller holds the lock.
func (s *session) put(response *pb.Response) {
	if s.queue(response) {
		return
	}
	select {
	case <-s.over:
		s.node.counters.lostAnswers.Add(1)
		return
	case <-s.writer.Done():
		s.node.counters.lostAnswers.Add(1)
		return
	default:
	}
	if withoutEffect(response) && s.queue(overloaded(response)) {
		s.node.counters.refuse(pb.Code_CODE_OVERLOADED)
		return
	}
	s.node.counters.lostAnswers.Add(1)
	s.cutOff()
}

// queue hands an answer to the writer, if it fits into what the session and the node may hold. The caller holds
// the lock.
func (s *session) queue(response *pb.Response) bool {
	k, size, most := kindOf(response), responseBytes(response), s.node.options.AnswerBytesMax
	if k == values {
		most -= s.node.options.verdictsBytes()
	}
	if s.held[values]+s.held[verdicts]+size > most || !s.node.answers[k].take(s.held[k], size) {
		return false
	}
	if !s.writer.Put(response) {
		s.node.answers[k].give(size)
		return false
	}
	s.held[k] += size
	return true
}

// cutOff ends the session of a client that does not take its answers.
func (s *session) cutOff() { s.cutOnce.Do(func() { close(s.cut) }) }

// withoutEffect reports whether the request of this answer changed nothing, so that to refuse it is true.
func withoutEffect(response *pb.Response) bool {
	switch body := response.GetBody().(type) {
	case *pb.Response_Read, *pb.Response_Snapshot, *pb.Response_WhoServes:
		return true
	case *pb.Response_Error:
		return body.Error.GetCode() != pb.Code_CODE_OUTCOME_UNKNOWN && body.Error.GetCode() != pb.Code_CODE_INTERNAL
	default:
		return false
	}
}

func overloaded(response *pb.Response) *pb.Response {
	return &pb.Response{Id: response.GetId(), Body: &pb.Response_Error{Error: &pb.Error{
		Code: pb.Code_CODE_OVERLOADED, Message: "too many answers wait to be read",
	}}}
}

// limited replaces an answer that is larger than a message may be.
func limited(response *pb.Response) *pb.Response {
	if responseBytes(response) <= MessageBytesMax {
		return response
	}
	size := proto.Size(response)
	if size <= MessageBytesMax {
		return response
	}
	refusal := &pb.Error{
		Code: pb.Code_CODE_INTERNAL, Message: fmt.Sprintf("the answer has %d bytes, at most %d can be sent", size, MessageBytesMax),
		LimitName: "answer_bytes", Limit: MessageBytesMax, Actual: uint64(size),
	}
	if withoutEffect(response) {
		refusal.Code = pb.Code_CODE_LIMIT
	}
	return &pb.Response{Id: response.GetId(), Body: &pb.Response_Error{Error: refusal}}
}

// addPrimary adds the primary's address to a refusal that lacks it, where the replicator knows the primary.
func (r *Replica) addPrimary(response *pb.Response) {
	refusal := response.GetError()
	if refusal.GetCode() != pb.Code_CODE_NOT_PRIMARY || refusal.GetPrimaryAddress() != "" {
		return
	}
	primary := r.Replicator.Status().Primary
	if address := r.AddressOf(primary); address != "" && uint32(primary) != r.Replica {
		// The error may be one that the handler uses again and again.
		refusal = proto.Clone(refusal).(*pb.Error)
		refusal.PrimaryAddress = address
		response.Body = &pb.Response_Error{Error: refusal}
	}
}

// responseBytes is at least the bytes of an answer on the wire, and little more; it saves the hot path a walk
// by reflection.
func responseBytes(response *pb.Response) int {
	const fields = 128 // the answer, its body, and every number in them
	switch body := response.GetBody().(type) {
	case *pb.Response_Read:
		return fields + valuesBytes(body.Read.GetValues())
	case *pb.Response_Snapshot:
		return fields + valuesBytes(body.Snapshot.GetValues())
	case *pb.Response_Verdict:
		v := body.Verdict
		size := fields + 96 + len(v.GetOther().GetId().GetClerk()) + 6*len(v.GetParticipants())
		for _, oid := range v.GetOids() {
			size += len(oid) + 8
		}
		return size
	case *pb.Response_EndTxn, *pb.Response_Timestamps, *pb.Response_ReportPrimary, *pb.Response_Bound:
		return fields
	default:
		return proto.Size(response) + fields
	}
}

func valuesBytes(values []*pb.Value) (size int) {
	for _, value := range values {
		size += len(value.GetValue()) + 32
	}
	return size
}
