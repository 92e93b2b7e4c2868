package route

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
)

// The defaults of Options.
const (
	DefaultOutstandingMax = 256
	DefaultReservedForEnd = 64
	DefaultCallsMax       = 65_536
	DefaultCallBytesMax   = 256 << 20
	DefaultBackoffMin     = 5 * time.Millisecond
	DefaultBackoffMax     = 100 * time.Millisecond
	DefaultConnectTimeout = time.Second
	DefaultReconnectMax   = 500 * time.Millisecond
	DefaultSharedTimeout  = 500 * time.Millisecond
	DefaultStallTimeout   = 3 * time.Second
)

// Options configure a Router. Only Coordinators is needed; every other zero value means its default.
type Options struct {
	// Coordinators are addresses (host:port) of replicas of the coordinator; one that answers is enough, the map
	// names the others.
	Coordinators []string
	// CoordinatorsEpoch and KeepCoordinators are for a memory that outlives the Router: those who answer today may be gone
	// when there is another. KeepCoordinators, if set, gets the epoch and the addresses of the coordinator's members with
	// all news; it is called from one goroutine at a time and may take its time; the slice must not be changed.
	// CoordinatorsEpoch is what it got last: members of earlier ones are not believed. 0: there is no memory.
	CoordinatorsEpoch uint64
	KeepCoordinators  func(epoch uint64, addresses []string)
	// Cluster is the id that the cluster must have; all zero accepts the first one met.
	Cluster [16]byte
	// Dial is added to the Router's own options of every connection, and overrides them. Without credentials in
	// it connections are plaintext.
	Dial []grpc.DialOption
	// Logger gets what an operator may want to know; the default drops it.
	Logger *slog.Logger

	// OutstandingMax bounds the unanswered requests on the stream to one node; more wait their turn. It may not
	// exceed what servers take. 256.
	OutstandingMax int
	// ReservedForEnd is how many of OutstandingMax only requests get that decide or end a transaction
	// (CommitTxn, AbortTxn, Fence, EndTxn), so that those which others wait for never stand behind them. 64.
	ReservedForEnd int
	// CallsMax and CallBytesMax bound the requests, and their marshalled bytes, that were taken by Send and
	// have no answer yet, in the whole Router; more are refused as ErrOverloaded. 65,536 and 256 MiB.
	CallsMax     int
	CallBytesMax int

	// BackoffMin and BackoffMax bound the pause before a refused request is sent again; it doubles from one to
	// the other and is jittered by half. 5 ms and 100 ms.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// ConnectTimeout bounds one attempt to connect to a node. 1 s.
	ConnectTimeout time.Duration
	// ReconnectMax bounds the pause between two attempts, which doubles from BackoffMin. 500 ms.
	ReconnectMax time.Duration
	// SharedTimeout bounds one try of a shared request (Timestamp, RefreshBound) before it is sent again,
	// perhaps elsewhere. 500 ms.
	SharedTimeout time.Duration
	// StallTimeout is how long a stream may be silent, while a request whose time is up is unanswered on it,
	// or while the coordinator owes a sign of life, before it is given up. 3 s.
	StallTimeout time.Duration
}

// Validate names the first field that makes no sense; its errors are ErrOptions.
func (o Options) Validate() error {
	if len(o.Coordinators) == 0 {
		return fmt.Errorf("%w: no Coordinators", ErrOptions)
	}
	for _, address := range o.Coordinators {
		if address == "" {
			return fmt.Errorf("%w: an empty address in Coordinators", ErrOptions)
		}
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"OutstandingMax", int64(o.OutstandingMax)},
		{"ReservedForEnd", int64(o.ReservedForEnd)},
		{"CallsMax", int64(o.CallsMax)},
		{"CallBytesMax", int64(o.CallBytesMax)},
		{"BackoffMin", int64(o.BackoffMin)},
		{"BackoffMax", int64(o.BackoffMax)},
		{"ConnectTimeout", int64(o.ConnectTimeout)},
		{"ReconnectMax", int64(o.ReconnectMax)},
		{"SharedTimeout", int64(o.SharedTimeout)},
		{"StallTimeout", int64(o.StallTimeout)},
	} {
		if field.value < 0 {
			return fmt.Errorf("%w: %s is %d, less than 0", ErrOptions, field.name, field.value)
		}
	}
	o = o.withDefaults()
	if o.ReservedForEnd >= o.OutstandingMax {
		return fmt.Errorf("%w: ReservedForEnd %d leaves nothing of OutstandingMax %d", ErrOptions, o.ReservedForEnd, o.OutstandingMax)
	}
	if o.BackoffMin > o.BackoffMax || o.BackoffMin > o.ReconnectMax {
		return fmt.Errorf("%w: BackoffMin %v exceeds BackoffMax %v or ReconnectMax %v", ErrOptions, o.BackoffMin, o.BackoffMax, o.ReconnectMax)
	}
	return nil
}

func (o Options) withDefaults() Options {
	setDefault(&o.OutstandingMax, DefaultOutstandingMax)
	setDefault(&o.ReservedForEnd, min(DefaultReservedForEnd, o.OutstandingMax/4))
	setDefault(&o.CallsMax, DefaultCallsMax)
	setDefault(&o.CallBytesMax, DefaultCallBytesMax)
	setDefault(&o.BackoffMin, DefaultBackoffMin)
	setDefault(&o.BackoffMax, max(DefaultBackoffMax, o.BackoffMin))
	setDefault(&o.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&o.ReconnectMax, max(DefaultReconnectMax, o.BackoffMin))
	setDefault(&o.SharedTimeout, DefaultSharedTimeout)
	setDefault(&o.StallTimeout, DefaultStallTimeout)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
