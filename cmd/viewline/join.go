package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/cluster"
)

const initJoinHelp = `
With --join it sets up one more node of a cluster that runs: a newcomer to a group, a shard's number or coordinator. It
asks the cluster (--coordinators) for all that a node has to know, and makes one directory, on the machine that it runs
on. Start the node then: it catches up and takes part in nothing, until viewline member add or replace makes it a member.

  viewline init --join 2 --address 10.0.0.9:7101

--replica N is for a member whose disk was lost or replaced: the directory becomes that of a later life of it, which the
group lets in by viewline member replace. Without it the newcomer gets the next number that was never used; two newcomers
that are set up before either is a member need numbers of their own.`

// joinFlags are what init says of a newcomer.
type joinFlags struct {
	group, address, directory string
	replica                   uint32
	witness                   bool
}

func (f *joinFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.group, "join", "", "set up a newcomer to this group: a shard's number, or coordinator (VIEWLINE_JOIN)")
	flags.StringVar(&f.address, "address", "", "where the newcomer listens and is reached, HOST:PORT (VIEWLINE_ADDRESS)")
	flags.Uint32Var(&f.replica, "replica", 0, "its number: a new one, or that of a member which has lost its data; 0: the next (VIEWLINE_REPLICA)")
	flags.BoolVar(&f.witness, "witness", false, "the newcomer keeps the log, and has no state (VIEWLINE_WITNESS)")
	flags.StringVar(&f.directory, "directory", "", "the newcomer's directory; default: the node's name, here (VIEWLINE_DIRECTORY)")
}

// given reports whether any of them is.
func (f *joinFlags) given() bool { return *f != joinFlags{} }

func (a *app) join(ctx context.Context, chosen *joinFlags, arguments []string) (err error) {
	if chosen.group == "" || chosen.address == "" || len(arguments) > 0 {
		return usagef("a newcomer needs --join GROUP and --address HOST:PORT, and no file")
	}
	group, err := parseGroup(chosen.group)
	if err != nil {
		return err
	}
	defer func() { err = interrupted(ctx, err, "run it again: it goes on where it was") }()
	limited, cancel := a.limited(ctx)
	defer cancel()
	groups, err := a.groups(limited)
	if err != nil {
		return err
	}
	done, err := cluster.Join(limited, cluster.JoinOptions{
		Groups: groups, Group: group, Replica: chosen.replica, Address: chosen.address, Witness: chosen.witness, Directory: chosen.directory,
	})
	if err != nil {
		return err
	}
	return a.writeJoined(done)
}

func (a *app) writeJoined(done *cluster.Joined) error {
	if a.output == "json" {
		return a.json(done)
	}
	name := cluster.NodeName(done.Group, done.Replica)
	said := fmt.Sprintf("%s of cluster %s is set up; start it, in a terminal or service of its own:\n", name, done.Cluster)
	if !done.Changed {
		said = fmt.Sprintf("%s of cluster %s was set up before; nothing is changed. Its node:\n", name, done.Cluster)
	}
	said += fmt.Sprintf("  viewline %s --config %s\n", verbOf(done.Group), done.Node)
	switch group := groupArgument(done.Group); {
	case done.Member:
		said += "It is a member already.\n"
	case done.Returns:
		said += fmt.Sprintf("Then let it in:\n  viewline member replace --group %s %d %s\n", group, done.Replica, done.Address)
	default:
		said += fmt.Sprintf("Then let it in:\n  viewline member add --group %s %s\n", group, done.Address)
	}
	_, err := fmt.Fprint(a.out, said)
	return err
}

// verbOf is the command that runs a node of a group.
func verbOf(group uint32) string {
	if group == cluster.CoordinatorGroup {
		return "coordinator"
	}
	return "shardserver"
}

// groupArgument is how the command line names a group.
func groupArgument(group uint32) string {
	if group == cluster.CoordinatorGroup {
		return "coordinator"
	}
	return strconv.FormatUint(uint64(group), 10)
}

// parseGroup reads it.
func parseGroup(text string) (uint32, error) {
	if text == "coordinator" {
		return cluster.CoordinatorGroup, nil
	}
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, usagef("the group is %q, need a shard's number or coordinator", text)
	}
	return uint32(number), nil
}
