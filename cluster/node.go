package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/viewline/viewline/coordinator"
	"github.com/viewline/viewline/internal/metrics"
	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/internal/route"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
	"github.com/viewline/viewline/shardserver"
	"github.com/viewline/viewline/txn"
)

// NodeOptions are what of a node does not stand in its file. The zero value is useful.
type NodeOptions struct {
	// Logger gets what an operator may want to know; the default drops it.
	Logger *slog.Logger
	// Insecure allows an address that other machines reach, in plaintext.
	Insecure bool
	// Listener is used instead of the configured address.
	Listener net.Listener
	// RefuseDamage has a node whose log or checkpoint is damaged not start, instead of repairing it from the others.
	RefuseDamage bool
	// Version is the program's, for NodeStatus.
	Version string
	// Tuning changes time-outs.
	Tuning Tuning
	// Pass is for tests: whether a message may pass between two replicas of a group; see transport.Options.
	Pass func(group, from, to uint32) bool
}

// Tuning are the times and sizes that tests and experiments change. Zero means the default of the room that
// each field belongs to.
type Tuning struct {
	// HeartbeatInterval, ViewChangeTimeoutMin and ViewChangeTimeoutMax are those of the backends. In a group of Raft an
	// idle leader sends every tenth of ViewChangeTimeoutMin and every HeartbeatInterval, and ViewChangeTimeoutMax can only
	// be twice ViewChangeTimeoutMin.
	HeartbeatInterval    time.Duration
	ViewChangeTimeoutMin time.Duration
	ViewChangeTimeoutMax time.Duration
	// CheckpointEvery is the number of operations between two checkpoints.
	CheckpointEvery uint64
	// InDoubtAge, ThresholdLag, VersionHorizonLag and RecordHorizonLag are of the shards.
	InDoubtAge        time.Duration
	ThresholdLag      time.Duration
	VersionHorizonLag time.Duration
	RecordHorizonLag  time.Duration
}

// RunningNode is one node with its replica. StartNode makes one; Drain or Close ends it.
type RunningNode struct {
	config    *NodeConfig
	addresses addresses // of the members of the replica's group
	node      *node.Node
	admin     *metrics.Admin // nil: none is configured
	// closers end what was started, in this order.
	closers []func() error
	done    chan struct{} // closed when Serve has returned
	serving bool          // Serve was called
	served  error         // what it returned; read only after done is closed
	once    sync.Once
	err     error
}

// server is a coordinator or a shard server.
type server interface {
	node.Handler
	Attach(replicator replication.Replicator)
	Close() error
}

// StartNode opens a node's data directory and serves. Its errors are those of node.OpenDirectory and
// the backend's storage, which say what is wrong with the directory, ErrBackend, ErrConfig, and those of the network.
func StartNode(config *NodeConfig, options NodeOptions) (*RunningNode, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.Logger = options.Logger.With("node", NodeName(config.Group, config.Replica))
	n := &RunningNode{config: config, done: make(chan struct{})}
	if err := n.start(options); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.serving = true
	go func() {
		defer close(n.done)
		n.served = n.node.Serve()
	}()
	return n, nil
}

// onClose has something ended before all that stands already.
func (n *RunningNode) onClose(end func() error) {
	n.closers = append([]func() error{end}, n.closers...)
}

func (n *RunningNode) start(options NodeOptions) error {
	identity, err := n.config.identity()
	if err != nil {
		return err
	}
	if err := n.checkAdmin(options.Insecure); err != nil {
		return err
	}
	backend, err := backendOf(n.config.Backend)
	if err != nil {
		return err
	}
	disk, err := n.openDisk(backend, identity)
	if err != nil {
		return err
	}
	if err := n.openNode(identity.Cluster, options); err != nil {
		return err
	}
	n.addresses.configured = addressesOf(n.config.Members)
	local := transport.Local{
		Group: n.config.Group, Replica: n.config.Replica, Incarnation: identity.Incarnation, Detours: addressesOf(n.config.Peers),
		Backend: backend.handshake(),
	}
	group, err := n.node.Transport().Group(local, n.addresses.configured)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	serving, machine, err := n.newServer(identity.Cluster, options)
	if err != nil {
		return err
	}
	replica, err := disk.replica(&opening{config: n.config, identity: identity, via: group, machine: machine, options: options})
	if err != nil {
		return errors.Join(fmt.Errorf("cluster: %w", err), serving.Close())
	}
	// The server answers with the replica's help, so it ends before; what the replica still has it answers to
	// the server's end.
	n.onClose(replica.Close)
	n.onClose(serving.Close)
	n.addresses.follow(replica)
	serving.Attach(replica)
	// The node goes first of all: from then on nobody asks.
	n.onClose(n.node.Close)
	hosted := node.Replica{
		Group: local.Group, Replica: local.Replica, Incarnation: local.Incarnation, AddressOf: n.addresses.of, Handler: serving, Replicator: replica,
		Common: n.config.common(),
	}
	if err := n.node.AddReplica(hosted); err != nil {
		return err
	}
	return n.openAdmin(hosted, options)
}

// openDisk locks the data directory and opens what the replica keeps there.
func (n *RunningNode) openDisk(backend backend, identity node.Identity) (openedStorage, error) {
	directory, err := node.OpenDirectory(n.config.Data, identity)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	n.onClose(directory.Close)
	if err := checkHolder(backend, n.config.Data); err != nil {
		return nil, err
	}
	disk, err := backend.open(n.config)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	n.onClose(disk.Close)
	return disk, nil
}

func (n *RunningNode) openNode(id [16]byte, options NodeOptions) (err error) {
	wanted := node.Options{
		Listener: options.Listener, Advertise: n.config.Address(), Cluster: id, Logger: options.Logger, Insecure: options.Insecure,
		Version: options.Version, Transport: transport.Options{Pass: options.Pass},
	}
	if options.Listener == nil {
		if wanted.Listen = n.config.Listen; wanted.Listen == "" {
			wanted.Listen = n.config.Address()
		}
	}
	if n.node, err = node.Open(wanted); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	n.onClose(n.node.Close)
	return nil
}

// newServer makes the coordinator's or the shard's side of the replica; a witness has none.
func (n *RunningNode) newServer(id [16]byte, options NodeOptions) (server, replication.StateMachine, error) {
	if n.config.isWitness() {
		return n.newWitness(id), nil, nil
	}
	if n.config.Group == CoordinatorGroup {
		serving, err := coordinator.New(coordinator.Options{
			Layout: shardMap(n.config.Coordinators, n.config.Shards), Cluster: id, AddressOf: n.addresses.of, Logger: options.Logger,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("cluster: %w", err)
		}
		serving.RegisterMapService(n.node.Registrar())
		return serving, serving.StateMachine(), nil
	}
	coordinators := recallCoordinators(n.config.Data, n.config.Coordinators, options.Logger)
	router := openLateRouter(route.Options{
		Coordinators: coordinators.addresses(), CoordinatorsEpoch: coordinators.epoch, KeepCoordinators: coordinators.remember,
		Cluster: id, Logger: options.Logger,
	})
	n.onClose(router.close)
	serving, err := shardserver.New(shardserver.Options{
		Shard: txn.ShardID(n.config.Group), Replica: replication.ReplicaID(n.config.Replica), AddressOf: n.addresses.of, Router: router, Logger: options.Logger,
		InDoubtAge: options.Tuning.InDoubtAge, ThresholdLag: options.Tuning.ThresholdLag,
		VersionHorizonLag: options.Tuning.VersionHorizonLag, RecordHorizonLag: options.Tuning.RecordHorizonLag,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: %w", err)
	}
	return serving, serving.Machine(), nil
}

// Addr is where the node listens.
func (n *RunningNode) Addr() string { return n.node.Addr() }

// Done is closed when the node no longer answers connections: after Drain or Close, or because the network
// failed it.
func (n *RunningNode) Done() <-chan struct{} { return n.done }

// Drain finishes what is under way, refuses what is new, and closes the node. When ctx ends first it closes at
// once and returns the context's error.
func (n *RunningNode) Drain(ctx context.Context) error {
	return errors.Join(n.node.Drain(ctx), n.Close())
}

// Close ends the node at once and waits until all its goroutines are gone. The error tells, too, why serving had
// ended before, if it had. Closing twice is harmless.
func (n *RunningNode) Close() error {
	n.once.Do(func() {
		for _, end := range n.closers {
			n.err = errors.Join(n.err, end())
		}
		if n.serving {
			<-n.done
			n.err = errors.Join(n.err, n.served)
		}
	})
	return n.err
}
