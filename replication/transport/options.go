package transport

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
)

// Version is the version of the wire format that this package speaks.
const Version = 2

// The values that stand for fields of Options that are 0.
const (
	// PayloadBytesMaxDefault leaves a backend 64 KiB to wrap an operation of 20 MiB.
	PayloadBytesMaxDefault = 20<<20 + 64<<10
	QueueFramesMaxDefault  = 1 << 14
	QueueBytesMaxDefault   = 64 << 20
	ConnectTimeoutDefault  = 2 * time.Second
	// HandshakeTimeoutDefault is long enough for a peer that is stopped for a while as soon as it has opened a stream.
	HandshakeTimeoutDefault = 10 * time.Second
	// CheckpointTimeoutDefault leaves a member time for the slowest thing that it does between two pieces.
	CheckpointTimeoutDefault = 30 * time.Second
	BackoffMinDefault        = 25 * time.Millisecond
	BackoffMaxDefault        = time.Second
	StreamsMaxDefault        = 256
	CheckpointsMaxDefault    = 4
)

// MessageOverhead is what the framing adds to the largest payload, in bytes: a server that carries the
// PeerService takes messages of PayloadBytesMax + MessageOverhead.
const MessageOverhead = 64 << 10

// Options configures a Transport. Only Cluster has to be set.
type Options struct {
	// Cluster is the cluster's id. Streams from and to any other are refused. Not all zero.
	Cluster [16]byte
	// Address is where other nodes reach this one, HOST:PORT: it is in the handshake, so that those can answer who were
	// not told of this node: those of the group that a newcomer asks, and members that do not know yet of the epoch which
	// this node is in. "": only those who were told reach it.
	Address string
	// Dial is added to the transport's own options for connections to peers.
	Dial []grpc.DialOption
	// Logger gets what an operator should know, the same complaint at most once a minute. nil: nothing is logged.
	Logger *slog.Logger
	// QueueFramesMax and QueueBytesMax bound what waits for one peer address; more is dropped.
	QueueFramesMax int
	QueueBytesMax  int
	// PayloadBytesMax is the largest payload, in bytes; a larger one is dropped on either side.
	PayloadBytesMax int
	// ConnectTimeout is how long one attempt to reach a peer may take.
	ConnectTimeout time.Duration
	// HandshakeTimeout is how long an incoming stream may stay open without a handshake.
	HandshakeTimeout time.Duration
	// CheckpointTimeout is how long a member may take no piece of a checkpoint (256 KiB) that is sent to it.
	CheckpointTimeout time.Duration
	// BackoffMin and BackoffMax bound the time between two attempts; it doubles from one to the other and is
	// jittered by half.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// StreamsMax bounds the incoming streams of frames at one time; more are turned away.
	StreamsMax int
	// CheckpointsMax bounds the checkpoints that are being sent to peers at one time; more are turned away.
	CheckpointsMax int
	// Pass is for tests: it reports whether anything may pass from one replica of a group to another. It is
	// asked on both sides, for frames and for pieces of checkpoints, from many goroutines. nil: everything may.
	Pass func(group, from, to uint32) bool
}

// Validate returns an ErrOptions that names what makes no sense, or nil.
func (o Options) Validate() error {
	if o.Cluster == [16]byte{} {
		return fmt.Errorf("%w: Cluster is not set", ErrOptions)
	}
	if o.Address != "" {
		if err := checkAddress(o.Address); err != nil {
			return err
		}
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"QueueFramesMax", int64(o.QueueFramesMax)},
		{"QueueBytesMax", int64(o.QueueBytesMax)},
		{"PayloadBytesMax", int64(o.PayloadBytesMax)},
		{"ConnectTimeout", int64(o.ConnectTimeout)},
		{"HandshakeTimeout", int64(o.HandshakeTimeout)},
		{"CheckpointTimeout", int64(o.CheckpointTimeout)},
		{"BackoffMin", int64(o.BackoffMin)},
		{"BackoffMax", int64(o.BackoffMax)},
		{"StreamsMax", int64(o.StreamsMax)},
		{"CheckpointsMax", int64(o.CheckpointsMax)},
	} {
		if field.value < 0 {
			return fmt.Errorf("%w: %s is %d, less than 0", ErrOptions, field.name, field.value)
		}
	}
	if o = o.withDefaults(); o.BackoffMin > o.BackoffMax {
		return fmt.Errorf("%w: BackoffMin %v exceeds BackoffMax %v", ErrOptions, o.BackoffMin, o.BackoffMax)
	}
	if o.QueueBytesMax < o.PayloadBytesMax+frameOverhead {
		return fmt.Errorf("%w: QueueBytesMax %d is less than PayloadBytesMax %d and its frame", ErrOptions, o.QueueBytesMax, o.PayloadBytesMax)
	}
	return nil
}

func (o Options) withDefaults() Options {
	setDefault(&o.QueueFramesMax, QueueFramesMaxDefault)
	setDefault(&o.QueueBytesMax, QueueBytesMaxDefault)
	setDefault(&o.PayloadBytesMax, PayloadBytesMaxDefault)
	setDefault(&o.ConnectTimeout, ConnectTimeoutDefault)
	setDefault(&o.HandshakeTimeout, HandshakeTimeoutDefault)
	setDefault(&o.CheckpointTimeout, CheckpointTimeoutDefault)
	setDefault(&o.BackoffMin, BackoffMinDefault)
	setDefault(&o.BackoffMax, BackoffMaxDefault)
	setDefault(&o.StreamsMax, StreamsMaxDefault)
	setDefault(&o.CheckpointsMax, CheckpointsMaxDefault)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Pass == nil {
		o.Pass = func(uint32, uint32, uint32) bool { return true }
	}
	return o
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
