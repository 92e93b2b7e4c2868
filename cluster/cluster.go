package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/internal/survey"
)

// Options describe a cluster inside one process. Only Directory is needed.
type Options struct {
	// Directory is where the nodes' directories are made.
	Directory string
	// Coordinators, Shards and Replicas are how many replicas the coordinator has, how many shards there are,
	// and how many replicas each has. Defaults: 3, 2, 3.
	Coordinators, Shards, Replicas int
	// Backend replicates every group, BackendVR (the default) or BackendRaft.
	Backend string
	// Witnesses makes the last replica of every group of two to four its witness; see Layout.MarkWitnesses.
	Witnesses bool
	// Logger gets what the nodes log; the default drops it.
	Logger *slog.Logger
	// Tuning changes time-outs of all nodes.
	Tuning Tuning
	// Admin gives each node an admin port, on a free loopback port; see AdminAddrs.
	Admin bool
}

// ErrOptions is what every refusal of Options is.
var ErrOptions = errors.New("cluster: bad options")

// Validate names the first thing that is wrong, or returns nil.
func (o *Options) Validate() error {
	if o.Directory == "" {
		return fmt.Errorf("%w: no Directory", ErrOptions)
	}
	if _, err := backendOf(o.Backend); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	for _, field := range []struct {
		name       string
		value, max int
	}{{"Coordinators", o.Coordinators, ReplicasMax}, {"Shards", o.Shards, ShardsMax}, {"Replicas", o.Replicas, ReplicasMax}} {
		if field.value < 0 || field.value > field.max {
			return fmt.Errorf("%w: %s is %d, need 1 to %d", ErrOptions, field.name, field.value, field.max)
		}
	}
	return nil
}

func (o *Options) setDefaults() {
	for _, field := range []struct {
		value    *int
		standard int
	}{{&o.Coordinators, 3}, {&o.Shards, 2}, {&o.Replicas, 3}} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if o.Backend == "" {
		o.Backend = BackendVR
	}
}

// Cluster is a whole cluster inside this process: real listeners on loopback, real disks, real time.
type Cluster struct {
	options Options
	layout  *Layout
	faults  faults

	mu     sync.Mutex
	groups []Group               // as their members are now, the coordinator's first; guarded by mu
	nodes  map[string]*localNode // that run, by NodeName
}

// localNode is a node and the gate before its connections.
type localNode struct {
	*RunningNode
	gate *gate
}

// Start sets a cluster up and returns once every group serves with all its replicas, or ctx ends.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options.setDefaults()
	layout, err := LocalLayout(options.Directory, options.Coordinators, options.Shards, options.Replicas)
	if err != nil {
		return nil, err
	}
	layout.Backend = options.Backend
	if options.Witnesses {
		layout.MarkWitnesses()
	}
	if _, err := Initialise(layout); err != nil {
		return nil, err
	}
	c := &Cluster{options: options, layout: layout, groups: layout.Groups(), faults: newFaults(), nodes: map[string]*localNode{}}
	for _, group := range layout.Groups() {
		for _, member := range group.Members {
			if err := c.Restart(group.ID, member.Replica); err != nil {
				return nil, errors.Join(err, c.Close())
			}
		}
	}
	if err := c.AwaitWhole(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Restart starts a node that does not run.
func (c *Cluster) Restart(group, replica uint32) error {
	name := NodeName(group, replica)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes[name] != nil {
		return fmt.Errorf("cluster: %s runs already", name)
	}
	config, err := ReadNodeConfig(c.nodeFile(group, replica))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.Address())
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if c.options.Admin {
		config.Admin = "127.0.0.1:0"
	}
	node := &localNode{gate: newGate()}
	node.RunningNode, err = StartNode(config, NodeOptions{
		Listener: &gatedListener{Listener: listener, gate: node.gate}, Logger: c.options.Logger, Tuning: c.options.Tuning, Pass: c.faults.pass,
	})
	if err != nil {
		_ = listener.Close() // the node may have closed it already
		return err
	}
	c.nodes[name] = node
	return nil
}

// Kill ends a node at once: nothing under way is answered.
func (c *Cluster) Kill(group, replica uint32) error {
	node, err := c.take(group, replica)
	if err != nil {
		return err
	}
	return node.Close()
}

// Drain ends a node in order. One that is paused cannot: it ends when ctx does.
func (c *Cluster) Drain(ctx context.Context, group, replica uint32) error {
	node, err := c.take(group, replica)
	if err != nil {
		return err
	}
	return node.Drain(ctx)
}

func (c *Cluster) take(group, replica uint32) (*localNode, error) {
	name := NodeName(group, replica)
	c.mu.Lock()
	defer c.mu.Unlock()
	node := c.nodes[name]
	if node == nil {
		return nil, fmt.Errorf("cluster: %s does not run", name)
	}
	delete(c.nodes, name)
	c.faults.pause(end{group, replica}, false)
	return node, nil
}

func (c *Cluster) replicas(group uint32) []uint32 {
	var replicas []uint32
	for _, g := range c.Groups() {
		if g.ID == group {
			for _, member := range g.Members {
				replicas = append(replicas, member.Replica)
			}
		}
	}
	return replicas
}

// Endpoints are the addresses of the coordinator's replicas, for a clerk.
func (c *Cluster) Endpoints() []string {
	coordinators := c.Groups()[0].Members
	endpoints := make([]string, len(coordinators))
	for i, member := range coordinators {
		endpoints[i] = member.Address
	}
	return endpoints
}

// Shards are the ids of all shards.
func (c *Cluster) Shards() []uint32 {
	shards := make([]uint32, len(c.layout.Shards))
	for i, shard := range c.layout.Shards {
		shards[i] = shard.ID
	}
	return shards
}

// NodeDirectory is where a node's configuration and data lie.
func (c *Cluster) NodeDirectory(group, replica uint32) string {
	return filepath.Join(c.layout.Directory, NodeName(group, replica))
}

func (c *Cluster) nodeFile(group, replica uint32) string {
	return filepath.Join(c.NodeDirectory(group, replica), NodeFile)
}

// Clerk connects a new clerk, which its caller closes.
func (c *Cluster) Clerk(ctx context.Context) (*clerk.Clerk, error) {
	return clerk.Dial(ctx, clerk.Options{Coordinators: c.Endpoints(), Logger: c.options.Logger})
}

// Replica is what a survey learnt about one replica: Group, Replica and Address say which it is; Error is why its node
// gave no answer, or empty, and without an answer there is nothing more. Serving, Role and Status say how it is, View,
// Op, Commit, Applied and Checkpoint how far, Lag by how many operations it is behind its group; Failure is why it has
// stopped for good, StateHash the hash of its state, Counters and NodeCounters what it and its process have done.
type Replica = survey.Replica

// Survey asks every node how it is. What a node does not answer within 2 s stands in Replica.Error.
func (c *Cluster) Survey(ctx context.Context) []Replica {
	return survey.Ask(ctx, c.Groups())
}

// SurveyStates is Survey with the hash of every replica's state.
func (c *Cluster) SurveyStates(ctx context.Context) []Replica {
	return survey.AskStates(ctx, c.Groups())
}

// AwaitWhole waits until every group serves with all its replicas, all caught up.
func (c *Cluster) AwaitWhole(ctx context.Context) error {
	return survey.AwaitWhole(ctx, c.Groups())
}

// Primary waits until a replica of the group serves, and names it.
func (c *Cluster) Primary(ctx context.Context, group uint32) (uint32, error) {
	found, err := c.group(group)
	if err != nil {
		return 0, err
	}
	return survey.AwaitPrimary(ctx, found)
}

// Transfer has the primary of a group hand its role over to another replica, or, for 0, to the one that is most caught
// up, and returns who is primary then.
func (c *Cluster) Transfer(ctx context.Context, group, to uint32) (primary uint32, err error) {
	found, err := c.group(group)
	if err != nil {
		return 0, err
	}
	done, err := survey.Transfer(ctx, found, to)
	return done.Primary, err
}

// Close ends every node and waits until all goroutines are gone. The directories stay. Closing twice is
// harmless.
func (c *Cluster) Close() error {
	c.mu.Lock()
	nodes := c.nodes
	c.nodes = map[string]*localNode{}
	c.mu.Unlock()
	var mu sync.Mutex
	var err error
	var closing sync.WaitGroup
	for _, node := range nodes {
		closing.Go(func() {
			failed := node.Close()
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, failed)
		})
	}
	closing.Wait()
	return err
}
