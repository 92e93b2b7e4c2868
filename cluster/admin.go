package cluster

import (
	"errors"
	"fmt"

	"github.com/viewline/viewline/internal/metrics"
	"github.com/viewline/viewline/internal/node"
)

// checkAdmin refuses an address before anything of the replica is touched.
func (n *RunningNode) checkAdmin(insecure bool) error {
	if n.config.Admin == "" {
		return nil
	}
	_, err := metrics.Resolve(n.config.Admin, insecure)
	switch {
	case errors.Is(err, metrics.ErrInsecure):
		return fmt.Errorf("cluster: admin port: %w", &node.InsecureListenError{Address: n.config.Admin})
	case err != nil:
		return fmt.Errorf("%w: admin port: %w", ErrConfig, err)
	}
	return nil
}

// openAdmin opens the admin port, if one is configured.
func (n *RunningNode) openAdmin(replica node.Replica, options NodeOptions) (err error) {
	if n.config.Admin == "" {
		return nil
	}
	n.admin, err = metrics.Open(metrics.Options{
		Listen: n.config.Admin, Insecure: options.Insecure, Logger: options.Logger, Node: n.node.Counters,
		Replicas: []metrics.Replica{{
			Group: replica.Group, Replica: replica.Replica, Replicator: replica.Replicator, Describe: replica.Handler.Describe,
		}},
	})
	if err != nil {
		return fmt.Errorf("cluster: admin port: %w", err)
	}
	n.onClose(n.admin.Close)
	return nil
}

// AdminAddr is where the admin port is, or empty when there is none.
func (n *RunningNode) AdminAddr() string {
	if n.admin == nil {
		return ""
	}
	return n.admin.Addr()
}

// AdminAddrs are the admin ports of the nodes that run, by NodeName.
func (c *Cluster) AdminAddrs() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	addresses := make(map[string]string, len(c.nodes))
	for name, node := range c.nodes {
		addresses[name] = node.AdminAddr()
	}
	return addresses
}
