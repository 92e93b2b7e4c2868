package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/cluster"
)

func (a *app) initCommand() *cobra.Command {
	var newcomer joinFlags
	var backend string
	command := &cobra.Command{
		Use: "init CLUSTER.toml | --join GROUP", GroupID: "run", Short: "Set up the directories of a new cluster, or of one more node",
		Long: `Set up a new cluster: mint its id and make a directory for each node, with its configuration (node.toml) and its
empty data directory. Run again it changes nothing. The file says who is in the cluster:

  directory = "viewline-data"      # where the nodes' directories go; this is the default

  [[coordinator]]
  replica = 1
  address = "127.0.0.1:7001"
  # ... replicas 2 and 3

  [[shard]]
  id = 1
  [[shard.replica]]
  replica = 1
  address = "127.0.0.1:7101"
  # ... and so on

With witness = true a replica keeps the log that the others need and has no state: one of a group at most, beside one to
three others.

backend = "raft" above all that, or --backend raft, has hashicorp/raft replicate every group instead of Viewstamped
Replication (vr); with backend under a [[shard]] that one only, and with coordinator_backend the coordinator. It is for good.
Raft has durability sync and memory, and neither leases, witnesses, log = "wal" nor viewline force.
` + initJoinHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, arguments []string) error {
			if newcomer.given() {
				if backend != "" {
					return usagef("a newcomer has the backend of its group: leave --backend away")
				}
				return a.join(cmd.Context(), &newcomer, arguments)
			}
			if len(arguments) != 1 {
				return usagef("%d arguments do not fit; usage: %s", len(arguments), cmd.UseLine())
			}
			layout, err := cluster.ReadLayout(arguments[0])
			if err != nil {
				return err
			}
			if backend != "" {
				layout.Backend = backend
			}
			done, err := cluster.Initialise(layout)
			if err != nil {
				return err
			}
			return a.writeInitialised(layout, done)
		},
	}
	newcomer.add(command)
	command.Flags().StringVar(&backend, "backend", "", "vr or raft: what replicates the groups of which the file does not say it by themselves; "+
		"default: the file's (VIEWLINE_BACKEND)")
	return command
}

func (a *app) writeInitialised(layout *cluster.Layout, done *cluster.Initialised) error {
	if a.output == "json" {
		return a.json(map[string]any{"cluster": done.Cluster, "changed": done.Changed, "nodes": done.Nodes})
	}
	said := "cluster %s is set up in %s; start its nodes, each in a terminal or service of its own:\n"
	if !done.Changed {
		said = "cluster %s was set up in %s before; nothing is changed. Its nodes:\n"
	}
	text := fmt.Sprintf(said, done.Cluster, layout.Directory)
	for _, file := range done.Nodes {
		verb := "shardserver"
		if strings.HasPrefix(filepath.Base(filepath.Dir(file)), "coordinator-") {
			verb = "coordinator"
		}
		text += fmt.Sprintf("  viewline %s --config %s\n", verb, file)
	}
	var coordinators []string
	for _, member := range layout.Coordinator {
		coordinators = append(coordinators, member.Address)
	}
	text += "Then, in another:\n"
	if !slices.Equal(coordinators, defaultCoordinators()) {
		text += fmt.Sprintf("  export VIEWLINE_COORDINATORS=%s\n", strings.Join(coordinators, ","))
	}
	text += "  viewline status\n"
	_, err := fmt.Fprint(a.out, text)
	return err
}

// nodeFlags are what may be said of a node besides its file.
type nodeFlags struct {
	config, listen, data string
	admin                string
	peers                map[string]string
	logLevel, logFormat  string
	drain                time.Duration
	refuseDamage         bool
}

// nodeCommand makes the command that runs one node: verb is coordinator or shardserver.
func (a *app) nodeCommand(verb string) *cobra.Command {
	var chosen nodeFlags
	command := &cobra.Command{
		Use: verb + " --config FILE", GroupID: "run", Short: "Run one replica of " + map[string]string{
			"coordinator": "the coordinator", "shardserver": "a shard",
		}[verb],
		Long: `Run one node in the foreground, from the node.toml that init wrote. A flag goes before its variable, that before
the file, that before the default. Interrupt or SIGTERM finishes what is under way and ends in order.

There is no encryption yet: a node refuses an address that other machines reach unless --insecure is given.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := chosen.read(verb)
			if err != nil {
				return err
			}
			logger, err := chosen.logger(a)
			if err != nil {
				return err
			}
			return runNode(cmd.Context(), config, cluster.NodeOptions{
				Logger: logger, Insecure: a.insecure, Version: buildVersion().Version, RefuseDamage: chosen.refuseDamage,
			}, chosen.drain)
		},
	}
	flags := command.Flags()
	flags.StringVar(&chosen.config, "config", "", "the node's file (VIEWLINE_CONFIG)")
	flags.StringVar(&chosen.listen, "listen", "", "listen here instead of the replica's address (VIEWLINE_LISTEN)")
	flags.StringVar(&chosen.data, "data", "", "the replica's data directory, instead of the file's (VIEWLINE_DATA)")
	flags.StringVar(&chosen.admin, "admin", "", "serve /metrics and /debug/pprof/ here: a loopback address, port 0 for a free one (VIEWLINE_ADMIN)")
	flags.StringToStringVar(&chosen.peers, "peer", nil, "reach these members of the group at other addresses: REPLICA=HOST:PORT,... (VIEWLINE_PEER)")
	flags.StringVar(&chosen.logLevel, "log-level", "info", "debug, info, warn or error (VIEWLINE_LOG_LEVEL)")
	flags.StringVar(&chosen.logFormat, "log-format", "text", "text or json (VIEWLINE_LOG_FORMAT)")
	flags.DurationVar(&chosen.drain, "drain", 10*time.Second, "how long SIGTERM waits for what is under way (VIEWLINE_DRAIN)")
	flags.BoolVar(&chosen.refuseDamage, "refuse-damage", false,
		"do not start with a damaged log or checkpoint, instead of repairing it from the other replicas (VIEWLINE_REFUSE_DAMAGE)")
	return command
}

func (f *nodeFlags) read(verb string) (*cluster.NodeConfig, error) {
	if f.config == "" {
		return nil, usagef("--config is missing: the node.toml that `viewline init` wrote for this node")
	}
	config, err := cluster.ReadNodeConfig(f.config)
	if err != nil {
		return nil, err
	}
	if right := verbOf(config.Group); verb != right {
		return nil, usagef("%s is the file of a node of another kind: use viewline %s", f.config, right)
	}
	if f.listen != "" {
		config.Listen = f.listen
	}
	if f.data != "" {
		config.Data = f.data
	}
	if f.admin != "" {
		config.Admin = f.admin
	}
	return config, f.readPeers(config)
}

// readPeers puts --peer in the place of the file's.
func (f *nodeFlags) readPeers(config *cluster.NodeConfig) error {
	if len(f.peers) == 0 {
		return nil
	}
	config.Peers = nil
	for name, address := range f.peers {
		replica, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return usagef("--peer %s=%s: %q is not a replica", name, address, name)
		}
		config.Peers = append(config.Peers, cluster.Member{Replica: uint32(replica), Address: address})
	}
	slices.SortFunc(config.Peers, func(a, b cluster.Member) int { return cmp.Compare(a.Replica, b.Replica) })
	return config.Validate()
}

func (f *nodeFlags) logger(a *app) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("--log-level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.err, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.err, options)), nil
	default:
		return nil, usagef("--log-format is %q, need text or json", f.logFormat)
	}
}

// runNode runs a node until it is told to end.
func runNode(ctx context.Context, config *cluster.NodeConfig, options cluster.NodeOptions, drain time.Duration) error {
	node, err := cluster.StartNode(config, options)
	if err != nil {
		return err
	}
	options.Logger.Info("serving", "node", cluster.NodeName(config.Group, config.Replica), "address", node.Addr())
	select {
	case <-node.Done():
		return errors.Join(errors.New("the node stopped serving"), node.Close())
	case <-ctx.Done():
	}
	options.Logger.Info("draining")
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return node.Drain(limited)
}
