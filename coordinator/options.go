package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/viewline/viewline/coordinator/state"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// The defaults of Options.
const (
	DefaultTickInterval      = 100 * time.Millisecond
	DefaultHeartbeatInterval = time.Second
	DefaultWaitingMax        = 65_536
	DefaultWatchersMax       = 16_384
)

// Options configure a Server. Cluster and Layout are needed; every other zero value means its default.
type Options struct {
	// Cluster is the cluster's id, not all zero. Watchers of another one are refused.
	Cluster [16]byte
	// Layout is what the first primary of an empty cluster proposes. Without AddressOf it also gives the addresses of
	// the coordinator's own members until the replicated map does. nil, for a replica that joins: the cluster has one.
	Layout *pb.ShardMap
	// AddressOf says where a member of the coordinator's group is reached: "" for who is no member or not known. It is
	// called from many goroutines, with the server's lock held, and does not block. nil: the map says it.
	AddressOf func(replication.ReplicaID) string
	// Logger gets what an operator may want to know; the default drops it.
	Logger *slog.Logger
	// Now is the clock that timestamps follow. time.Now.
	Now func() time.Time
	// TickInterval is how often the mark, the primary and the deadlines of what waits are looked at. 100 ms; at
	// most a second, since the mark is raised one and a half ahead of need.
	TickInterval time.Duration
	// HeartbeatInterval is how often a watcher to whom there is nothing to tell gets a sign of life. 1 s.
	HeartbeatInterval time.Duration
	// WaitingMax bounds the requests that wait for a round; more are refused as overloaded. 65,536.
	WaitingMax int
	// WatchersMax bounds the watchers; more are turned away. 16,384.
	WatchersMax int
}

// ErrOptions is what every error of Validate is.
var ErrOptions = errors.New("coordinator: bad options")

// tickIntervalMax leaves the mark's raising several tries before it runs out.
const tickIntervalMax = time.Second

// Validate names the first thing that is wrong, or returns nil.
func (o Options) Validate() error {
	_, err := o.layout()
	return err
}

// layout is Validate, with the layout that it had to look at.
func (o Options) layout() (*state.Map, error) {
	if o.Cluster == [16]byte{} {
		return nil, fmt.Errorf("%w: Cluster is not set", ErrOptions)
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"TickInterval", int64(o.TickInterval)},
		{"HeartbeatInterval", int64(o.HeartbeatInterval)},
		{"WaitingMax", int64(o.WaitingMax)},
		{"WatchersMax", int64(o.WatchersMax)},
	} {
		if field.value < 0 {
			return nil, fmt.Errorf("%w: %s is %d, less than 0", ErrOptions, field.name, field.value)
		}
	}
	if o.TickInterval > tickIntervalMax {
		return nil, fmt.Errorf("%w: TickInterval %v exceeds %v", ErrOptions, o.TickInterval, tickIntervalMax)
	}
	if o.Layout == nil {
		return nil, nil
	}
	layout, err := parseMap(o.Layout)
	if err != nil {
		return nil, fmt.Errorf("%w: Layout: %w", ErrOptions, err)
	}
	return layout, nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	setDefault(&o.TickInterval, DefaultTickInterval)
	setDefault(&o.HeartbeatInterval, DefaultHeartbeatInterval)
	setDefault(&o.WaitingMax, DefaultWaitingMax)
	setDefault(&o.WatchersMax, DefaultWatchersMax)
	return o
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
