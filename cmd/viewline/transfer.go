package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/internal/survey"
)

func (a *app) transferCommand() *cobra.Command {
	return &cobra.Command{
		Use: "transfer GROUP REPLICA", GroupID: "run", Short: "Make another replica the primary of its group",
		Long: `Have the primary of a group hand its role over to another replica: GROUP is the shard's number, or coordinator;
REPLICA is the replica's, or 0 for the one that is most caught up. The primary finishes what it has taken first, and
whoever asks it afterwards is sent on: no request fails. A replica that lags behind too far is refused, and the
primary goes on.

A node that is ended by SIGTERM does this by itself.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, arguments []string) (err error) {
			group, replica, err := parseTransfer(arguments)
			if err != nil {
				return err
			}
			defer func() { err = interruptedUse(cmd.Context(), err) }()
			ctx, cancel := a.limited(cmd.Context())
			defer cancel()
			groups, err := a.groups(ctx)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(groups, func(g survey.Group) bool { return g.ID == group })
			if at < 0 {
				return fmt.Errorf("%w: no group %d", survey.ErrNoReplica, group)
			}
			done, err := survey.Transfer(ctx, groups[at], replica)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(done)
			}
			_, err = fmt.Fprintf(a.out, "replica %d is the primary of view %d\n", done.Primary, done.View)
			return err
		},
	}
}

func parseTransfer(arguments []string) (group, replica uint32, err error) {
	if group, err = parseGroup(arguments[0]); err != nil {
		return 0, 0, err
	}
	number, err := strconv.ParseUint(arguments[1], 10, 32)
	if err != nil {
		return 0, 0, usagef("the replica is %q, need its number, or 0 for the best", arguments[1])
	}
	return group, uint32(number), nil
}
