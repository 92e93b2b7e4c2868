package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/survey"
)

// logTail is how much of a node's log an error shows.
const logTail = 2 << 10

// Options describe the processes of a cluster.
type Options struct {
	// Binary is the program that every node runs; see the package comment.
	Binary string
	// Layout is the cluster; every address has to be on loopback, unless Arguments allow others. Start sets it up if it is not yet.
	Layout *cluster.Layout
	// Arguments are added to every command line.
	Arguments []string
	// Launch starts a node's command, in surroundings of its own or with further arguments; nil: command.Start does. It
	// is called again for every restart, and must start the command from the goroutine that it is called on.
	Launch func(node Node, command *exec.Cmd) error
	// Dial is added to the options of the connections by which the nodes are asked how they are.
	Dial []grpc.DialOption
	// Environment is added to this process's own, of which variables for viewline are left out: they are meant for
	// one node or for a client.
	Environment []string
}

// Cluster is a running cluster of processes.
type Cluster struct {
	options Options

	mu       sync.Mutex
	children []*child        // coordinators first; guarded by mu
	groups   []cluster.Group // guarded by mu
}

// Start starts every node and waits until every group serves whole or ctx ends. After an error nothing
// is left running.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	set, err := cluster.Initialise(options.Layout)
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: options, groups: options.Layout.Groups()}
	for _, file := range set.Nodes {
		config, err := cluster.ReadNodeConfig(file)
		if err != nil {
			return nil, err
		}
		c.children = append(c.children, newChild(options, file, config))
	}
	for _, child := range c.children {
		if err := child.start(); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.AwaitWhole(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func newChild(options Options, file string, config *cluster.NodeConfig) *child {
	verb := "shardserver"
	if config.Group == cluster.CoordinatorGroup {
		verb = "coordinator"
	}
	arguments := append([]string{verb, "--config", file}, options.Arguments...)
	launch := options.Launch
	if launch == nil {
		launch = func(_ Node, command *exec.Cmd) error { return command.Start() }
	}
	return &child{
		node: Node{config.Group, config.Replica}, address: config.Address(), logFile: filepath.Join(filepath.Dir(file), "log"), launch: launch,
		command: func() *exec.Cmd {
			command := exec.Command(options.Binary, arguments...)
			command.Env = append(environment(), options.Environment...)
			return command
		},
	}
}

func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "VIEWLINE_") })
}

// Coordinators are the addresses of the coordinator's replicas, for a clerk.
func (c *Cluster) Coordinators() []string {
	var addresses []string
	for _, group := range c.Groups() {
		for _, member := range group.Members {
			if group.ID == cluster.CoordinatorGroup {
				addresses = append(addresses, member.Address)
			}
		}
	}
	return addresses
}

// Shards are the ids of all shards.
func (c *Cluster) Shards() []uint32 {
	var shards []uint32
	for _, group := range c.Groups()[1:] {
		shards = append(shards, group.ID)
	}
	return shards
}

// Address is where a node listens, or empty.
func (c *Cluster) Address(node Node) string {
	if child, err := c.find(node); err == nil {
		return child.address
	}
	return ""
}

// Nodes are the nodes of the members of one group.
func (c *Cluster) Nodes(group uint32) []Node {
	var nodes []Node
	for _, g := range c.Groups() {
		if g.ID != group {
			continue
		}
		for _, member := range g.Members {
			nodes = append(nodes, Node{group, member.Replica})
		}
	}
	return nodes
}

// Survey asks every node how it is.
func (c *Cluster) Survey(ctx context.Context) []cluster.Replica {
	return survey.Ask(ctx, c.Groups(), c.options.Dial...)
}

// SurveyStates is Survey with the hash of every replica's state.
func (c *Cluster) SurveyStates(ctx context.Context) []cluster.Replica {
	return survey.AskStates(ctx, c.Groups(), c.options.Dial...)
}

// AwaitWhole waits until every group serves with all its replicas, all caught up. A process that ended without
// having been told to is an error that shows the end of its log.
func (c *Cluster) AwaitWhole(ctx context.Context) error {
	return survey.Poll(ctx, func() error {
		for _, child := range c.all() {
			if err := child.died(); err != nil {
				return survey.Final{Err: fmt.Errorf("%w; its log ends with:\n%s", err, tail(child.logFile))}
			}
		}
		if assessment := survey.Assess(c.Survey(ctx)); assessment.Health != survey.Whole {
			return errors.New(assessment.Sentence)
		}
		return nil
	})
}

// Primary waits until a replica of the group serves, and names it. Replicas that do not answer at once are not
// waited for.
func (c *Cluster) Primary(ctx context.Context, group uint32) (Node, error) {
	groups := c.Groups()
	at := slices.IndexFunc(groups, func(g cluster.Group) bool { return g.ID == group })
	if at < 0 {
		return Node{}, fmt.Errorf("%w: no group %d in this cluster", ErrNotRunning, group)
	}
	replica, err := survey.AwaitPrimary(ctx, groups[at], c.options.Dial...)
	return Node{group, replica}, err
}

// Kill ends a node's process without warning and waits until it is gone.
func (c *Cluster) Kill(node Node) error {
	child, err := c.find(node)
	if err != nil {
		return err
	}
	return child.kill()
}

// Stop makes a node's process stand still as it is, and waits until it does; it keeps its connections and answers
// nothing.
func (c *Cluster) Stop(ctx context.Context, node Node) error {
	child, err := c.find(node)
	if err != nil {
		return err
	}
	if err := child.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return survey.Poll(ctx, func() error {
		still, err := child.stopped()
		switch {
		case err != nil:
			return survey.Final{Err: err}
		case !still:
			return fmt.Errorf("process: %v does not stand still", node)
		default:
			return nil
		}
	})
}

// Continue lets a stopped process go on.
func (c *Cluster) Continue(node Node) error { return c.signal(node, syscall.SIGCONT) }

// Terminate asks a node's process to end in order, and waits until it is gone.
func (c *Cluster) Terminate(ctx context.Context, node Node) error {
	child, err := c.find(node)
	if err != nil {
		return err
	}
	child.expect()
	if err := child.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-child.gone():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process: %v did not end: %w", node, context.Cause(ctx))
	}
}

// Restart starts the process of a node that has none.
func (c *Cluster) Restart(node Node) error {
	child, err := c.find(node)
	if err != nil {
		return err
	}
	return child.start()
}

func (c *Cluster) signal(node Node, s syscall.Signal) error {
	child, err := c.find(node)
	if err != nil {
		return err
	}
	return child.signal(s)
}

func (c *Cluster) find(node Node) (*child, error) {
	for _, child := range c.all() {
		if child.node == node {
			return child, nil
		}
	}
	return nil, fmt.Errorf("%w: no %v in this cluster", ErrNotRunning, node)
}

// Close kills every process and waits until all are gone. The directories stay. Closing twice is harmless.
func (c *Cluster) Close() error {
	var err error
	for _, child := range c.all() {
		if failed := child.kill(); failed != nil && !errors.Is(failed, ErrNotRunning) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}
