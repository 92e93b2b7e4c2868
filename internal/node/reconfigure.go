package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// reconfigureTimeout bounds a Reconfigure whose caller names no time.
const reconfigureTimeout = 10 * time.Second

// membersMax is above every group's number of members.
const membersMax = 64

var (
	// errNoReconfigurations: the backend cannot do it.
	errNoReconfigurations = errors.New("node: this backend does not change the members of a group")
	// errMember: what a request says of a member makes no sense.
	errMember = errors.New("node: no member of a group")
)

// Membership says who the members of a group are, as far as the replica here knows. What keeps it from that stands in
// the response; the error is always nil.
func (a *adminServer) Membership(_ context.Context, request *pb.MembershipRequest) (*pb.MembershipResponse, error) {
	hosted, changing, err := a.reconfigurer(request.GetGroup())
	if err != nil {
		return &pb.MembershipResponse{Error: refusalOf(err)}, nil
	}
	membership, status := changing.Membership(), hosted.Replicator.Status()
	response := &pb.MembershipResponse{
		Epoch: membership.Epoch, LargestReplica: uint32(membership.LargestID), Cluster: a.node.options.Cluster[:], Placement: hosted.Common.Placement,
		Backend: status.Backend, Durability: status.Durability, Log: status.Log, Leases: hosted.Common.Leases,
		Self: &pb.GroupMember{
			Replica: hosted.Replica, Address: a.node.Advertise(), Incarnation: hosted.Incarnation, Witness: status.Role == replication.RoleWitness,
		},
	}
	for _, member := range membership.Members {
		response.Members = append(response.Members, hosted.describeMember(member))
	}
	return response, nil
}

// Reconfigure has the replica here begin a new epoch. What becomes of it stands in the response; the error is always nil.
func (a *adminServer) Reconfigure(ctx context.Context, request *pb.ReconfigureRequest) (*pb.ReconfigureResponse, error) {
	hosted, changing, err := a.reconfigurer(request.GetGroup())
	if err != nil {
		return &pb.ReconfigureResponse{Error: refusalOf(err)}, nil
	}
	change := replication.Change{Epoch: request.GetEpoch(), DryRun: request.GetDryRun()}
	if change.Members, err = readMembers(request.GetMembers()); err == nil && hosted.Common.Check != nil {
		err = hosted.Common.Check(change.Members)
	}
	if err != nil {
		return &pb.ReconfigureResponse{Error: &pb.Error{Code: pb.Code_CODE_INVALID_ARGUMENT, Message: err.Error()}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reconfigureTimeout)
	defer cancel()
	report, err := changing.Reconfigure(ctx, change)
	response := &pb.ReconfigureResponse{Epoch: report.Epoch}
	for i := range report.Replicas {
		response.Replicas = append(response.Replicas, hosted.describeReport(&report.Replicas[i]))
	}
	if err != nil {
		response.Error = hosted.redirect(refusalOf(err))
	}
	return response, nil
}

// reconfigurer finds the replica of a group, and what changes its members.
func (a *adminServer) reconfigurer(group uint32) (*Replica, replication.Reconfigurer, error) {
	hosted := a.node.replica(group)
	if hosted == nil {
		return nil, nil, fmt.Errorf("%w: group %d", errUnknownGroup, group)
	}
	changing, can := hosted.Replicator.(replication.Reconfigurer)
	if !can {
		return nil, nil, errNoReconfigurations
	}
	return hosted, changing, nil
}

// readMembers takes members as they come over the wire, where a directory's first life is 1.
func readMembers(asked []*pb.GroupMember) ([]replication.Member, error) {
	if len(asked) > membersMax {
		return nil, fmt.Errorf("%w: %d are too many", errMember, len(asked))
	}
	var members []replication.Member
	for _, member := range asked {
		if member.GetReplica() == 0 || member.GetIncarnation() == 0 {
			return nil, fmt.Errorf("%w: replica %d in incarnation %d, both begin at 1", errMember, member.GetReplica(), member.GetIncarnation())
		}
		members = append(members, replication.Member{
			ID: replication.ReplicaID(member.GetReplica()), Incarnation: member.GetIncarnation() - 1, Witness: member.GetWitness(), Address: member.GetAddress(),
		})
	}
	return members, nil
}

// describeMember is a member for the wire. An address that the membership does not have is the configured one.
func (r *Replica) describeMember(member replication.Member) *pb.GroupMember {
	described := &pb.GroupMember{
		Replica: uint32(member.ID), Address: member.Address, Incarnation: member.Incarnation + 1, Witness: member.Witness,
	}
	if described.Address == "" {
		described.Address = r.AddressOf(member.ID)
	}
	return described
}

func (r *Replica) describeReport(row *replication.ReplicaReport) *pb.ReplicaReport {
	return &pb.ReplicaReport{
		Member: r.describeMember(row.Member), Was: row.Was, Will: row.Will, Heard: row.Heard, Op: uint64(row.Op), Lag: row.Lag, Ready: row.Ready,
	}
}

// redirect completes a refusal of one who is not primary with whom to ask.
func (r *Replica) redirect(refusal *pb.Error) *pb.Error {
	status := r.Replicator.Status()
	refusal.View = uint64(status.View)
	if refusal.GetCode() == pb.Code_CODE_NOT_PRIMARY && uint32(status.Primary) != r.Replica {
		refusal.PrimaryAddress = r.AddressOf(status.Primary)
	}
	return refusal
}
