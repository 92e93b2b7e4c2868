package chaos

import (
	"context"
	"fmt"

	"github.com/viewline/viewline/internal/survey"
)

// compareStates waits until all replicas of each group that have a state have applied equally much, and compares them.
func (r *run) compareStates(ctx context.Context) error {
	return survey.Poll(ctx, func() error {
		first := map[uint32]survey.Replica{}
		for _, replica := range r.cluster.SurveyStates(ctx) {
			if replica.Error != "" {
				return fmt.Errorf("chaos: %s", replica.Error)
			}
			if replica.Witness {
				continue // it has none
			}
			if replica.StateHash == "" {
				return survey.Final{Err: fmt.Errorf("%w: replica %d of group %d has a state too large to compare", ErrVoid, replica.Replica, replica.Group)}
			}
			other, met := first[replica.Group]
			if !met {
				first[replica.Group] = replica
				continue
			}
			if other.Applied != replica.Applied {
				return fmt.Errorf("chaos: replicas of group %d have applied %d and %d operations", replica.Group, other.Applied, replica.Applied)
			}
			if other.StateHash != replica.StateHash {
				return survey.Final{Err: fmt.Errorf("%w: replicas %d and %d of group %d after operation %d",
					ErrDiverged, other.Replica, replica.Replica, replica.Group, replica.Applied)}
			}
		}
		return nil
	})
}
