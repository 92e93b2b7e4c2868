package survey

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// Errors of FindMembers and AskMembership beside those of the context and the network.
var (
	// ErrNoPrimary: no replica of the group serves, or none that does can be found.
	ErrNoPrimary = errors.New("survey: no primary serves")
	// ErrUnchangeable: the backend of the group does not change its members.
	ErrUnchangeable = errors.New("survey: the members of this group cannot be changed")
	// ErrClusters: an address that was taken for a member's is that of a node of another cluster.
	ErrClusters = errors.New("survey: nodes of two clusters answer")
)

// roundsMax bounds how often FindMembers goes on from members that it has just heard of to those whom they name.
const roundsMax = 8

// EpochMember is a replica as an epoch of its group has it.
type EpochMember struct {
	Replica uint32 `json:"replica"`
	Address string `json:"address"`
	// Incarnation is of its data directory, 1 in the first life.
	Incarnation uint64 `json:"incarnation"`
	// Witness: it holds log entries, counts in quorums, and has no state.
	Witness bool `json:"witness"`
}

// Membership is who the members of a group are, as one of its replicas knows.
type Membership struct {
	Group   uint32        `json:"group"`
	Epoch   uint64        `json:"epoch"`
	Members []EpochMember `json:"members"` // ascending
	// Largest is the largest id that was ever a member's; newcomers have larger ones.
	Largest uint32 `json:"largest"`
	// Self is who says so, a member or not. The rest is what its node has in common with those of the others.
	Self       EpochMember `json:"self"`
	Cluster    string      `json:"cluster"`
	Placement  string      `json:"placement"`
	Backend    string      `json:"backend"`
	Durability string      `json:"durability"`
	Log        string      `json:"log"`
	Leases     bool        `json:"leases"`
}

// Member finds a member by its id.
func (m *Membership) Member(replica uint32) (EpochMember, bool) {
	at := slices.IndexFunc(m.Members, func(member EpochMember) bool { return member.Replica == replica })
	if at < 0 {
		return EpochMember{}, false
	}
	return m.Members[at], true
}

// AsGroup is the members and their addresses, to be asked.
func (m *Membership) AsGroup() Group {
	group := Group{ID: m.Group}
	for _, member := range m.Members {
		group.Members = append(group.Members, Member{Replica: member.Replica, Address: member.Address, Witness: member.Witness})
	}
	return group
}

// AskMembership asks the node at an address about a group, until ctx or 2 s are over. ErrNoReplica: it has no replica of it.
func AskMembership(ctx context.Context, group uint32, address string, dial ...grpc.DialOption) (Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	response, err := askAdmin(address, dial, func(client pb.AdminServiceClient) (*pb.MembershipResponse, error) {
		return client.Membership(ctx, &pb.MembershipRequest{Group: group})
	})
	switch {
	case err != nil:
		return Membership{}, err
	case response.GetError().GetCode() == pb.Code_CODE_UNKNOWN_GROUP:
		return Membership{}, fmt.Errorf("%w of group %d at %s", ErrNoReplica, group, address)
	case response.GetError().GetCode() == pb.Code_CODE_INVALID_ARGUMENT:
		return Membership{}, fmt.Errorf("%w: %s", ErrUnchangeable, response.GetError().GetMessage())
	case response.GetError() != nil:
		return Membership{}, fmt.Errorf("survey: %s: %s", address, response.GetError().GetMessage())
	}
	m := Membership{
		Group: group, Epoch: response.GetEpoch(), Largest: response.GetLargestReplica(), Self: readMember(response.GetSelf()),
		Cluster: hex.EncodeToString(response.GetCluster()), Placement: response.GetPlacement(), Backend: response.GetBackend(),
		Durability: response.GetDurability(), Log: response.GetLog(), Leases: response.GetLeases(),
	}
	for _, member := range response.GetMembers() {
		m.Members = append(m.Members, readMember(member))
	}
	return m, nil
}

func readMember(member *pb.GroupMember) EpochMember {
	return EpochMember{
		Replica: member.GetReplica(), Address: member.GetAddress(), Incarnation: member.GetIncarnation(), Witness: member.GetWitness(),
	}
}

// Members are the members of a group's newest epoch that was found, and how they are.
type Members struct {
	Membership
	Replicas []Replica // ascending, as Ask describes them
	// Lives are the incarnations in which those answered that did.
	Lives map[uint32]uint64
	// Primary is the one that serves; 0: none does.
	Primary uint32
}

// FindMembers asks the replicas of a group that are known for its members, and those whom they name, until nobody new is
// named, and takes what the newest epoch says. Only the primary knows for certain which one is that: without one it may be
// an epoch that is over. An error says that nobody answered.
func FindMembers(ctx context.Context, group Group, dial ...grpc.DialOption) (Members, error) {
	return findMembers(ctx, group, askTimeout, dial)
}

// findMembers waits so long for those that do not answer, in each round of questions.
func findMembers(ctx context.Context, group Group, patience time.Duration, dial []grpc.DialOption) (Members, error) {
	found := finding{group: group, asked: map[string]Membership{}, failures: map[string]error{}}
	for range roundsMax {
		if !found.askNew(ctx, patience, dial) {
			break
		}
	}
	newest, err := found.newest()
	if err != nil {
		return Members{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result := Members{Membership: newest, Lives: map[uint32]uint64{}}
	result.Replicas = Ask(ctx, []Group{newest.AsGroup()}, dial...)
	result.Primary = Assess(result.Replicas).Groups[0].Primary
	for _, member := range newest.Members {
		if m, answered := found.asked[member.Address]; answered && m.Self.Replica == member.Replica {
			result.Lives[member.Replica] = m.Self.Incarnation
		}
	}
	return result, nil
}

// AwaitMembers is FindMembers until a primary serves. When ctx ends first the error is an ErrNoPrimary too.
func AwaitMembers(ctx context.Context, group Group, dial ...grpc.DialOption) (found Members, err error) {
	err = Poll(ctx, func() error {
		if found, err = findMembers(ctx, group, answerTimeout, dial); errors.Is(err, ErrUnchangeable) || errors.Is(err, ErrClusters) || errors.Is(err, ErrNoReplica) {
			return Final{err}
		}
		if err == nil && found.Primary == 0 {
			return fmt.Errorf("%w: %s", ErrNoPrimary, Assess(found.Replicas).Sentence)
		}
		return err
	})
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrNoPrimary) {
		err = fmt.Errorf("%w: %w", ErrNoPrimary, err)
	}
	return found, err
}

// finding is a search for the newest epoch of a group.
type finding struct {
	group    Group
	asked    map[string]Membership // by address, of those that answered
	failures map[string]error      // of those that did not
}

// askNew asks all who are known and were not asked, and reports whether there were any.
func (f *finding) askNew(ctx context.Context, patience time.Duration, dial []grpc.DialOption) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var addresses []string
	add := func(address string) {
		_, answered := f.asked[address]
		if address != "" && !answered && f.failures[address] == nil && !slices.Contains(addresses, address) && len(addresses) < asksMax {
			addresses = append(addresses, address)
		}
	}
	for _, member := range f.group.Members {
		add(member.Address)
	}
	for _, m := range f.asked {
		for _, member := range m.Members {
			add(member.Address)
		}
	}
	answers, failures := make([]Membership, len(addresses)), make([]error, len(addresses))
	var asking sync.WaitGroup
	for i, address := range addresses {
		asking.Go(func() { answers[i], failures[i] = AskMembership(ctx, f.group.ID, address, dial...) })
	}
	asking.Wait()
	for i, address := range addresses {
		if failures[i] == nil {
			f.asked[address] = answers[i]
		} else {
			f.failures[address] = failures[i]
		}
	}
	return len(addresses) > 0
}

// newest is what the newest epoch says. An address that it lacks is taken from those who were told whom to ask: the
// members that a group begins with may be known to each other by configuration alone.
func (f *finding) newest() (newest Membership, err error) {
	for address, m := range f.asked {
		if newest.Members != nil && m.Cluster != newest.Cluster {
			return Membership{}, fmt.Errorf("%w: %s is of cluster %s, %s is of %s", ErrClusters, address, m.Cluster, newest.Self.Address, newest.Cluster)
		}
		if newest.Members == nil || m.newer(&newest) {
			newest = m
		}
	}
	if newest.Members == nil {
		return Membership{}, f.nobody()
	}
	for i := range newest.Members {
		if member := &newest.Members[i]; member.Address == "" {
			for _, known := range f.group.Members {
				if known.Replica == member.Replica {
					member.Address = known.Address
				}
			}
		}
	}
	return newest, nil
}

// newer reports whether a membership is to be believed rather than another. Of one epoch it is what a member of it says: who
// joins knows of the first epoch only whom it was told to ask, which an earlier life of itself is not among.
func (m *Membership) newer(other *Membership) bool {
	switch {
	case m.Epoch != other.Epoch:
		return m.Epoch > other.Epoch
	case m.fromMember() != other.fromMember():
		return m.fromMember()
	default:
		return m.Self.Replica < other.Self.Replica
	}
}

// fromMember reports whether who says so is a member, in this life.
func (m *Membership) fromMember() bool {
	member, present := m.Member(m.Self.Replica)
	return present && member.Incarnation == m.Self.Incarnation
}

// nobody says why nobody answered that is of the group.
func (f *finding) nobody() error {
	var reasons []string
	others := 0
	for _, address := range slices.Sorted(maps.Keys(f.failures)) {
		reason := f.failures[address]
		if errors.Is(reason, ErrUnchangeable) {
			return reason
		}
		if errors.Is(reason, ErrNoReplica) {
			others++
		}
		reasons = append(reasons, reason.Error())
	}
	why := ErrNoPrimary
	if others > 0 && others == len(reasons) {
		why = ErrNoReplica
	}
	return fmt.Errorf("%w: nobody of group %d answers (%s)", why, f.group.ID, strings.Join(reasons, "; "))
}
