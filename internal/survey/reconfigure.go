package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// Errors of ChangeMembers beside ErrChange, ErrNoPrimary, ErrUnchangeable, ErrClusters, and those of newcomers that do not
// answer.
var (
	// ErrNotChanged: the members certainly were not changed; the text says why.
	ErrNotChanged = errors.New("survey: the members were not changed")
	// ErrMoved is an ErrNotChanged: somebody else has changed the members in between.
	ErrMoved = errors.New("somebody else has changed the members meanwhile")
	// ErrChangeUnknown: nobody could be asked what became of the change; the group's membership tells.
	ErrChangeUnknown = errors.New("survey: it is not known whether the members were changed")
	// ErrUnsettled: the members were changed, and what was waited for afterwards did not come in time.
	ErrUnsettled = errors.New("survey: the members were changed, but")
)

// reconfigureTimeout bounds one Reconfigure. A change of which that is not enough is asked for by the membership then.
const reconfigureTimeout = 5 * time.Second

// ReplicaReport is what the primary knows of a replica that a change concerns.
type ReplicaReport struct {
	EpochMember
	// Was and Will say whether it is a member before and after the change.
	Was  bool `json:"was"`
	Will bool `json:"will"`
	// Heard: within the shortest time-out. Op is how far its log went then, Lag how much it lacked.
	Heard bool   `json:"heard"`
	Op    uint64 `json:"op"`
	Lag   uint64 `json:"lag"`
	// Ready: it is heard, and has everything up to the primary's newest checkpoint at least.
	Ready bool `json:"ready"`
}

// Changed is what a change came to.
type Changed struct {
	Group uint32 `json:"group"`
	// Epoch is the one that the change begins, Members its members.
	Epoch   uint64          `json:"epoch"`
	Members []EpochMember   `json:"members"`
	Report  []ReplicaReport `json:"report"` // as the change, or the dry run, was asked for
	DryRun  bool            `json:"dry_run"`
	// Advice says what is worth knowing, or is empty.
	Advice string `json:"advice,omitempty"`
	// Primary serves the new epoch. Left are those who are members no more and have helped the others in: their nodes can
	// be stopped and their directories deleted. Silent are those who do not answer.
	Primary uint32   `json:"primary,omitempty"`
	Left    []uint32 `json:"left,omitempty"`
	Silent  []uint32 `json:"silent,omitempty"`
}

// ChangeOptions are how a change is made. The zero value is useful.
type ChangeOptions struct {
	// DryRun changes nothing, and waits for nothing: the answer is what the change would come to now.
	DryRun bool
	// Progress is called with every answer to the question whether the change would be taken, and why it would not; nil: nobody.
	Progress func(report []ReplicaReport, why error)
	Dial     []grpc.DialOption
}

// ChangeMembers has a group begin an epoch with other members. It waits until the newcomers are ready, changes exactly
// the epoch that it began from, and waits until a primary serves the new one and who left has. Every outcome is one of
// three: nil or ErrUnsettled, ErrChangeUnknown, or any other error, which says that nothing was changed.
func ChangeMembers(ctx context.Context, group Group, changing Changing, options ChangeOptions) (Changed, error) {
	c := attempt{options: options}
	if err := c.plan(ctx, group, &changing); err != nil {
		return Changed{}, err
	}
	if options.DryRun {
		return c.done, c.until(ctx, elsewhere, c.rehearse)
	}
	if err := c.until(ctx, later, c.rehearse); err != nil {
		return c.done, err
	}
	if err := c.until(ctx, later, c.commit); err != nil {
		return c.done, c.outcome(err)
	}
	return c.done, c.settle(ctx)
}

// attempt is a change on its way.
type attempt struct {
	options ChangeOptions
	before  Members
	primary string // where it was last; "": not known
	// unknown is why it is not known what became of an earlier attempt; nil: it is.
	unknown error
	done    Changed
}

// verdict is what is to be done after a step that had no success.
type verdict int

const (
	never     verdict = iota
	elsewhere         // ask another replica
	later             // or the same one, again
)

// plan finds out who is a member and who is to be one.
func (c *attempt) plan(ctx context.Context, group Group, changing *Changing) (err error) {
	if c.before, err = AwaitMembers(ctx, group, c.options.Dial...); err != nil {
		return err
	}
	newcomers := make([]Membership, len(changing.Add))
	for i, address := range changing.Add {
		if newcomers[i], err = c.meet(ctx, group.ID, address); err != nil {
			return err
		}
	}
	next, err := changing.plan(&c.before.Membership, newcomers)
	if err != nil {
		return err
	}
	c.done = Changed{
		Group: group.ID, Epoch: c.before.Epoch + 1, Members: next, DryRun: c.options.DryRun, Advice: Advice(c.before.Members, next),
	}
	primary, _ := c.before.Member(c.before.Primary)
	c.primary = primary.Address
	return nil
}

// meet asks a newcomer's node who it is. It may have been started a moment ago.
func (c *attempt) meet(ctx context.Context, group uint32, address string) (self Membership, err error) {
	err = c.until(ctx, later, func(ctx context.Context) (verdict, error) {
		self, err = AskMembership(ctx, group, address, c.options.Dial...)
		switch {
		case err == nil:
			return never, nil
		case errors.Is(err, ErrNoReplica), errors.Is(err, ErrUnchangeable):
			return never, fmt.Errorf("%w: %w: set its node up with viewline init --join", ErrChange, err)
		}
		err = fmt.Errorf("%w: a newcomer's node has to run, and be set up with viewline init --join: %w", ErrNotChanged, err)
		if c.options.DryRun {
			return never, err
		}
		if c.options.Progress != nil {
			c.options.Progress(nil, err)
		}
		return later, err
	})
	return self, err
}

// until has a step made again for as long as its verdict is no worse than the worst that is put up with.
func (c *attempt) until(ctx context.Context, worst verdict, step func(context.Context) (verdict, error)) error {
	return Poll(ctx, func() error {
		then, err := step(ctx)
		if err != nil && (then == never || then > worst) {
			return Final{err}
		}
		return err
	})
}

// rehearse asks whether the primary would make the change, and whether the newcomers are as close as that it takes no time.
func (c *attempt) rehearse(ctx context.Context) (verdict, error) {
	then, err := c.ask(ctx, true)
	for _, row := range c.done.Report {
		before, was := c.before.Member(row.Replica)
		if comes := row.Will && (!was || before.Incarnation < row.Incarnation); err == nil && comes && row.Lag > lagMax {
			then, err = later, fmt.Errorf("%w: replica %d lacks %d operations", ErrNotChanged, row.Replica, row.Lag)
		}
	}
	if c.options.Progress != nil {
		c.options.Progress(c.done.Report, err)
	}
	return then, err
}

// commit makes the change. Where it is not known what became of it, it is simply asked for again: it begins that one epoch,
// with these members, or nothing.
func (c *attempt) commit(ctx context.Context) (verdict, error) {
	if c.unknown != nil {
		c.primary = "" // so that the members are asked first
	}
	then, err := c.ask(ctx, false)
	if errors.Is(err, errBegun) {
		return never, nil
	}
	if c.unknown != nil && then == never && !errors.Is(err, ErrMoved) {
		then = later
	}
	return then, err
}

// errBegun: the epoch of this change has begun, with its members.
var errBegun = errors.New("survey: the epoch has begun")

// ask asks whoever is taken for the primary.
func (c *attempt) ask(ctx context.Context, dryRun bool) (verdict, error) {
	if c.primary == "" {
		if then, err := c.look(ctx); err != nil {
			return then, err
		}
	}
	asked := c.primary
	response, err := c.reconfigure(ctx, dryRun)
	if err != nil {
		if c.primary = ""; !dryRun {
			c.unknown = err
		}
		return elsewhere, fmt.Errorf("%w: %w", ErrNotChanged, err)
	}
	if len(response.GetReplicas()) > 0 {
		c.done.Report = readReport(response.GetReplicas())
	}
	refusal := response.GetError()
	if refusal == nil {
		return never, nil
	}
	err = fmt.Errorf("%w: %s", ErrNotChanged, refusal.GetMessage())
	switch refusal.GetCode() {
	case pb.Code_CODE_NOT_PRIMARY:
		if c.primary = refusal.GetPrimaryAddress(); c.primary == asked {
			c.primary = ""
		}
		return elsewhere, err
	case pb.Code_CODE_UNAVAILABLE, pb.Code_CODE_OVERLOADED, pb.Code_CODE_DEADLINE:
		return later, err
	case pb.Code_CODE_OUTCOME_UNKNOWN, pb.Code_CODE_INTERNAL:
		if c.primary = ""; !dryRun {
			c.unknown = errors.New(refusal.GetMessage())
		}
		return elsewhere, err
	default:
		// Where the epoch has moved on, that is why, and it is found out before anything is said.
		if then, missed := c.look(ctx); missed != nil {
			c.primary = ""
			return then, missed
		}
		return never, fmt.Errorf("%w: %s", ErrChange, refusal.GetMessage())
	}
}

func (c *attempt) reconfigure(ctx context.Context, dryRun bool) (*pb.ReconfigureResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, reconfigureTimeout)
	defer cancel()
	request := &pb.ReconfigureRequest{Group: c.done.Group, Epoch: c.done.Epoch, DryRun: dryRun}
	for _, member := range c.done.Members {
		request.Members = append(request.Members, &pb.GroupMember{
			Replica: member.Replica, Address: member.Address, Incarnation: member.Incarnation, Witness: member.Witness,
		})
	}
	return askAdmin(c.primary, c.options.Dial, func(client pb.AdminServiceClient) (*pb.ReconfigureResponse, error) {
		return client.Reconfigure(ctx, request)
	})
}

// look finds the primary anew, and whether an epoch has begun meanwhile.
func (c *attempt) look(ctx context.Context) (verdict, error) {
	found, err := findMembers(ctx, c.around(), answerTimeout, c.options.Dial)
	switch {
	case err != nil:
		return elsewhere, fmt.Errorf("%w: %w", ErrNotChanged, err)
	case found.Epoch == c.done.Epoch && c.unknown != nil && slices.Equal(found.Members, c.done.Members):
		return never, errBegun
	case found.Epoch > c.done.Epoch && c.unknown != nil:
		return never, fmt.Errorf("%w: %w: by now epoch %d has begun, with %s", ErrChangeUnknown, ErrMoved, found.Epoch, idsOf(found.Members))
	case found.Epoch >= c.done.Epoch:
		return never, fmt.Errorf("%w: %w: epoch %d has begun, with %s", ErrNotChanged, ErrMoved, found.Epoch, idsOf(found.Members))
	case found.Primary == 0:
		return elsewhere, fmt.Errorf("%w: %w", ErrNotChanged, ErrNoPrimary)
	}
	primary, _ := found.Member(found.Primary)
	c.primary = primary.Address
	return never, nil
}

// around are the members before and after the change.
func (c *attempt) around() Group {
	group := c.before.AsGroup()
	for _, member := range c.done.Members {
		group.Members = append(group.Members, Member{Replica: member.Replica, Address: member.Address, Witness: member.Witness})
	}
	return group
}

// outcome is the error of a commit that had no success.
func (c *attempt) outcome(err error) error {
	if c.unknown == nil || errors.Is(err, ErrMoved) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrChangeUnknown, c.unknown)
}
