package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/viewline/viewline/cluster"
)

// errNotForced: a group is not forced without being told to.
var errNotForced = errors.New("nothing was changed")

func (a *app) forceCommand() *cobra.Command {
	var accept bool
	command := &cobra.Command{
		Use: "force NODE...", GroupID: "run", Short: "Start a group that has lost too much, from what is left",
		Long: `The last resort for a group that stays stopped, because more than a minority of its replicas may lack what they had
acknowledged: all crashed at once in async or memory, or the disks of too many are damaged. Stop all its nodes, and give
the directory of each (the one with node.toml), or its file: all that there are, f+1 of 2f+1 at least.

Without --accept-loss it shows what each holds and says what may be lost, and changes nothing. With it the f+1 best of
them are marked to start from what they have; start all nodes then. The others recover from them. Each directory
that was marked says so for good, in FORCED, in its node's log, and in viewline status. Run again it changes nothing.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) (err error) {
			plan, err := cluster.PlanForce(arguments)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, plan.Close()) }()
			done := accept && plan.Needed
			if done {
				if err := plan.Execute(time.Now()); err != nil {
					return err
				}
			}
			if err := a.writeForcing(plan, done); err != nil {
				return err
			}
			if plan.Needed && !accept {
				return fmt.Errorf("%w: group %d can be forced, and may lose what is said above", errNotForced, plan.Group)
			}
			return nil
		},
	}
	command.Flags().BoolVar(&accept, "accept-loss", false, "go on, and lose what is said to be lost (VIEWLINE_ACCEPT_LOSS)")
	return command
}

func (a *app) writeForcing(plan *cluster.Forcing, done bool) error {
	if a.output == "json" {
		return a.json(map[string]any{"plan": plan, "changed": done})
	}
	rows := make([][]any, len(plan.Replicas))
	for i, r := range plan.Replicas {
		holds := "may lack something"
		switch {
		case r.Error != "":
			holds = "cannot be used: " + r.Error
		case len(r.Damage) > 0:
			holds = "damaged: " + strings.Join(r.Damage, "; ")
		case r.Whole:
			holds = "whole"
		}
		if len(r.Forced) > 0 {
			holds += ", was forced"
		}
		part := "recovers"
		switch {
		case !plan.Needed:
			part = "as it is"
		case r.Chosen:
			part = "starts from it"
		}
		rows[i] = []any{r.Replica, r.View, r.LastNormalView, r.Op, r.LogView, r.Commit, holds, part}
	}
	if err := a.table([]string{"replica", "view", "last normal", "op", "of view", "commit", "holds", "then"}, rows); err != nil {
		return err
	}
	text := ""
	for _, loss := range plan.Loss {
		text += loss + "\n"
	}
	switch {
	case !plan.Needed:
		text = "Enough of these replicas are whole: the group starts without this. Nothing was changed.\n"
	case done:
		text += fmt.Sprintf("Done: group %d goes on from operation %d. Start all its nodes.\n", plan.Group, plan.Op)
	default:
		text += fmt.Sprintf("Group %d would go on from operation %d. To have that: --accept-loss\n", plan.Group, plan.Op)
	}
	_, err := fmt.Fprintf(a.out, "\n%s", text)
	return err
}
