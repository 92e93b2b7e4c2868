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

Who the members are says the newest epoch that any of the directories knows. Those of replicas that are members no
more, or not yet, or of an earlier life, are left alone. A witness counts, and starts nothing without one that has a
state.

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
	for i := range plan.Replicas {
		r := &plan.Replicas[i]
		rows[i] = []any{r.Replica, r.Epoch, r.View, r.LastNormalView, r.Op, r.LogView, r.Commit, holds(r), part(plan, r)}
	}
	if err := a.table([]string{"replica", "epoch", "view", "last normal", "op", "of view", "commit", "holds", "then"}, rows); err != nil {
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

// holds says what a directory holds, as far as a force is concerned.
func holds(r *cluster.ForcedReplica) string {
	text := "may lack something"
	switch {
	case r.Error != "":
		text = "cannot be used: " + r.Error
	case len(r.Damage) > 0:
		text = "damaged: " + strings.Join(r.Damage, "; ")
	case r.Whole:
		text = "whole"
	}
	if !r.Member {
		text = r.Standing + ": " + text
	}
	if r.Witness {
		text = "a log without a state: " + text
	}
	if len(r.Forced) > 0 {
		text += ", was forced"
	}
	return text
}

// part says what becomes of a directory.
func part(plan *cluster.Forcing, r *cluster.ForcedReplica) string {
	switch {
	case !r.Member:
		return "is left alone"
	case !plan.Needed:
		return "as it is"
	case r.Nothing:
		return "starts with nothing"
	case r.Chosen:
		return "starts from it"
	default:
		return "recovers"
	}
}
