package route

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// never is a time that does not come.
const never = math.MaxInt64

// messageBytesMax leaves room for the frame around a request.
const messageBytesMax = txn.MessageBytesMax - 4096

// pending is a request that was taken and has no answer yet. At any time exactly one place has it: a node's
// queue, a node's stream, the pause list of its group, or the goroutine that decides about it; whoever takes it
// out of its place, under that place's lock, goes on with it alone.
type pending struct {
	group   uint32
	request *pb.Request
	done    func(*pb.Response, error)
	size    int
	// ends is whether it decides or ends a transaction, and so may use the reserved part of a stream.
	ends bool
	// deadline is in nanoseconds since the Router's start. It only falls, when the caller gives up.
	deadline atomic.Int64

	course course
	// last is the newest refusal or failure, and lastAt whose it is.
	last   error
	lastAt string
	// wake is when its pause is over.
	wake int64
}

func newPending(call Call, deadline int64, done func(*pb.Response, error)) *pending {
	p := &pending{group: call.Group, request: call.Request, done: done, size: proto.Size(call.Request), ends: endsTransaction(call.Request)}
	p.deadline.Store(deadline)
	p.course.resend = call.Resend
	return p
}

// endsTransaction reports whether other requests may be waiting for this one.
func endsTransaction(request *pb.Request) bool {
	switch request.GetBody().(type) {
	case *pb.Request_CommitTxn, *pb.Request_AbortTxn, *pb.Request_Fence, *pb.Request_EndTxn:
		return true
	default:
		return false
	}
}

// copyOf is one copy of a request on one stream.
type copyOf struct {
	// call is the request; nil once it was settled without an answer on this stream. The copy keeps its place
	// among the unanswered ones then, because it keeps it at the server.
	call    *pending
	message *pb.Request
	size    int
	ends    bool
	written bool
	since   int64 // when it was handed to the stream
}

func newCopy(p *pending, id uint64, now int64) *copyOf {
	return &copyOf{call: p, message: &pb.Request{Id: id, Group: p.group, Body: p.request.GetBody()}, size: p.size, ends: p.ends, since: now}
}

// settled is a request whose copy met its end, and how.
type settled struct {
	call     *pending
	event    event
	response *pb.Response
	err      error // for events other than answered and refused
	// order is the copy's id on its stream; 0 if it was handed to none.
	order uint64
}

// failure gives the caller's error for a request that ends with err: it names the group, the node that was asked
// last, if any was, and what was said before.
func (p *pending) failure(err error, address string) error {
	place := groupName(p.group)
	switch {
	case p.last == nil || errors.Is(err, p.last):
		err = fmt.Errorf("%s: %w", at(place, address), err)
	case address == "" || address == p.lastAt:
		err = fmt.Errorf("%s: %w: %w", at(place, p.lastAt), err, p.last)
	default:
		err = fmt.Errorf("%s: %w; before, at %s: %w", at(place, address), err, p.lastAt, p.last)
	}
	if p.course.unknown {
		return unknown(err)
	}
	return err
}

// groupName is what users call a group.
func groupName(group uint32) string {
	if group == CoordinatorGroup {
		return "coordinator"
	}
	return fmt.Sprintf("shard %d", group)
}

func at(place, address string) string {
	if address == "" {
		return place
	}
	return place + " at " + address
}
