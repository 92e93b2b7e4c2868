package node

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

// SessionVersion is the version of the session format that this package speaks.
const SessionVersion = 1

// MessageBytesMax is the largest answer, in bytes; a frame may be larger by FrameOverhead.
const (
	MessageBytesMax = 20 << 20
	FrameOverhead   = 128 << 10
)

// The values that stand for fields of Options that are 0.
const (
	RequestsMaxDefault      = 256
	AnswerBytesMaxDefault   = 64 << 20
	AnswerBytesTotalDefault = 512 << 20
	AnswerTimeoutDefault    = 30 * time.Second
	HandshakeTimeoutDefault = 10 * time.Second
	IdleTimeoutDefault      = 5 * time.Minute
	SessionsMaxDefault      = 4096
	ConnectionsMaxDefault   = 16384
)

// Options configures a Node. Cluster and one of Listen and Listener have to be set.
type Options struct {
	// Listen is the address to listen on: host and port. Port 0 takes a free one; see Addr.
	Listen string
	// Listener is used instead of Listen. The node owns it once Open has returned without an error.
	Listener net.Listener
	// Advertise is the address by which others reach the node; empty stands for Addr.
	Advertise string
	// Cluster is the cluster's id. Not all zero.
	Cluster [16]byte
	// Logger gets what an operator should know. nil: nothing is logged.
	Logger *slog.Logger
	// Insecure allows an address that other machines reach.
	Insecure bool
	// Version is the program's, as NodeStatus tells it.
	Version string
	// Transport configures the way to the other nodes; its Cluster and Logger are the node's, and so is its
	// Address unless it is set.
	Transport transport.Options
	// RequestsMax bounds the unanswered requests of one session; more are refused with CODE_OVERLOADED.
	RequestsMax int
	// AnswerBytesMax bounds the answers that wait on one session for a client that is slow to read, in bytes, and
	// AnswerBytesTotal those on all sessions, half of it values and half all else: one session may hold an eighth of
	// what is free of each, and 64 KiB in any case. Reads beyond them are refused with CODE_OVERLOADED; where
	// anything else does not fit, the session ends. What waits is counted once, but a frame that is being sent is
	// there a second time, marshalled; gRPC keeps up to 128 KiB more for each session.
	AnswerBytesMax   int
	AnswerBytesTotal int
	// AnswerTimeout is how long a client may take for one frame of answers, and as much again for each MiB of it;
	// then its session ends.
	AnswerTimeout time.Duration
	// HandshakeTimeout is how long a session may be open before its first frame comes.
	HandshakeTimeout time.Duration
	// IdleTimeout is how long a connection may be without any stream. Clients and peers keep theirs in use.
	IdleTimeout time.Duration
	// SessionsMax and ConnectionsMax bound the sessions and connections at one time; more are turned away. Fewer
	// connections are taken where the process may not have that many files open.
	SessionsMax    int
	ConnectionsMax int
}

// Validate returns an ErrOptions or *InsecureListenError that names what makes no sense, or nil.
func (o Options) Validate() error {
	if (o.Listen == "") == (o.Listener == nil) {
		return fmt.Errorf("%w: one of Listen and Listener has to be set", ErrOptions)
	}
	if o.Cluster == [16]byte{} {
		return fmt.Errorf("%w: Cluster is not set", ErrOptions)
	}
	for _, field := range []struct {
		name  string
		value int
	}{
		{"RequestsMax", o.RequestsMax},
		{"AnswerBytesMax", o.AnswerBytesMax},
		{"AnswerBytesTotal", o.AnswerBytesTotal},
		{"AnswerTimeout", int(o.AnswerTimeout)},
		{"HandshakeTimeout", int(o.HandshakeTimeout)},
		{"IdleTimeout", int(o.IdleTimeout)},
		{"SessionsMax", o.SessionsMax},
		{"ConnectionsMax", o.ConnectionsMax},
	} {
		if field.value < 0 {
			return fmt.Errorf("%w: %s is %d, less than 0", ErrOptions, field.name, field.value)
		}
	}
	o = o.withDefaults()
	if least := MessageBytesMax + o.verdictsBytes(); o.AnswerBytesMax < least {
		return fmt.Errorf("%w: AnswerBytesMax %d is less than one answer and some small ones, %d", ErrOptions, o.AnswerBytesMax, least)
	}
	if least := int(kinds) * (shares + 1) * MessageBytesMax; o.AnswerBytesTotal < least {
		return fmt.Errorf("%w: AnswerBytesTotal %d leaves no session one answer, less than %d", ErrOptions, o.AnswerBytesTotal, least)
	}
	return nil
}

// answersMax bounds the answers that wait on a session: those of all pending requests, and as many refusals.
func (o Options) answersMax() int { return 2 * o.RequestsMax }

// verdictsBytes is how much of AnswerBytesMax values may not take.
func (o Options) verdictsBytes() int { return o.answersMax() * verdictBytes }

func (o Options) withDefaults() Options {
	for _, field := range []struct {
		value    *int
		standard int
	}{
		{&o.RequestsMax, RequestsMaxDefault},
		{&o.AnswerBytesMax, AnswerBytesMaxDefault},
		{&o.AnswerBytesTotal, AnswerBytesTotalDefault},
		{&o.SessionsMax, SessionsMaxDefault},
		{&o.ConnectionsMax, ConnectionsMaxDefault},
	} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	for _, field := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.AnswerTimeout, AnswerTimeoutDefault},
		{&o.HandshakeTimeout, HandshakeTimeoutDefault},
		{&o.IdleTimeout, IdleTimeoutDefault},
	} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Transport.Cluster, o.Transport.Logger = o.Cluster, o.Logger
	if o.Transport.Address == "" {
		o.Transport.Address = o.Advertise
	}
	return o
}

// Handler answers the requests for one replica's group.
type Handler interface {
	// Handle takes a request and never blocks. The requests of one session come in the order in which the
	// client sent them, those of several sessions at the same time. deadline is when the client stops
	// waiting; zero: never. respond is called once, from any goroutine, possibly before Handle returns, and
	// takes the response for its own; the node fills its Id. A second call is ignored.
	Handle(request *pb.Request, deadline time.Time, respond func(*pb.Response))

	// Describe adds what the handler knows to its replica's status: serving, counters (the map exists) and, if
	// asked for, the hash of the state, for which it may have to read all of it.
	Describe(status *pb.ReplicaStatus, stateHash bool)
}

// Replica is one replica that a node hosts.
type Replica struct {
	Group   uint32
	Replica uint32 // not 0
	// Incarnation is logged; it is the transport that compares it.
	Incarnation uint64
	// AddressOf says where a member of the group is reached: "" for who is no member or not known. It is called from many
	// goroutines and does not block. Where a handler answers CODE_NOT_PRIMARY without an address, the node adds the one of
	// the primary that the Replicator names. nil: nobody is known.
	AddressOf  func(replication.ReplicaID) string
	Handler    Handler
	Replicator replication.Replicator
	// Common is what the nodes of all members have in common.
	Common Common
}

// Common is what the nodes of a group's members have in common beside what the Replicator's status says: a newcomer's
// node is configured with it.
type Common struct {
	Placement string // of the cluster
	Leases    bool   // the primary answers reads under a lease
	// Check refuses what cannot be the group's members, in the cluster's own rules; nil: whatever the Replicator takes.
	Check func([]replication.Member) error
}

func (r Replica) validate() error {
	switch {
	case r.Replica == 0:
		return fmt.Errorf("%w: replica 0 of group %d", ErrOptions, r.Group)
	case r.Handler == nil:
		return fmt.Errorf("%w: replica %d of group %d has no Handler", ErrOptions, r.Replica, r.Group)
	case r.Replicator == nil:
		return fmt.Errorf("%w: replica %d of group %d has no Replicator", ErrOptions, r.Replica, r.Group)
	}
	return nil
}
