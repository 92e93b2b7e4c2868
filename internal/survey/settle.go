package survey

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// left is what a replica's status says that is a member no more and has helped the others into their epoch.
const left = "left"

// settle waits until a primary serves the new epoch, and until those who are members no more are not needed either.
func (c *attempt) settle(ctx context.Context) error {
	err := Poll(ctx, func() error {
		found, err := findMembers(ctx, c.around(), answerTimeout, c.options.Dial)
		if err != nil {
			return err
		}
		if found.Epoch < c.done.Epoch || found.Primary == 0 {
			return errors.New("no primary serves the new epoch yet")
		}
		c.done.Primary = found.Primary
		return c.dismiss(ctx)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	return nil
}

// dismiss asks those who left. A node that does not answer is nobody's to wait for: a primary of the new epoch serves.
func (c *attempt) dismiss(ctx context.Context) error {
	gone := Group{ID: c.done.Group}
	stays := map[string]bool{}
	for _, member := range c.done.Members {
		stays[member.Address] = true
	}
	next := Membership{Members: c.done.Members}
	for _, member := range c.before.Members {
		now, present := next.Member(member.Replica)
		if !stays[member.Address] && !(present && now.Incarnation == member.Incarnation) {
			gone.Members = append(gone.Members, Member{Replica: member.Replica, Address: member.Address})
		}
	}
	c.done.Left, c.done.Silent = nil, nil
	for _, r := range Ask(ctx, []Group{gone}, c.options.Dial...) {
		switch {
		case r.Error != "" || r.Failure != "":
			c.done.Silent = append(c.done.Silent, r.Replica)
		case r.Status != left:
			return fmt.Errorf("replica %d is in state %s, and still needed", r.Replica, r.Status)
		default:
			c.done.Left = append(c.done.Left, r.Replica)
		}
	}
	return nil
}

func readReport(rows []*pb.ReplicaReport) []ReplicaReport {
	report := make([]ReplicaReport, len(rows))
	for i, row := range rows {
		report[i] = ReplicaReport{
			EpochMember: readMember(row.GetMember()), Was: row.GetWas(), Will: row.GetWill(), Heard: row.GetHeard(), Op: row.GetOp(),
			Lag: row.GetLag(), Ready: row.GetReady(),
		}
	}
	return report
}
