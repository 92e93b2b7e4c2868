package survey

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// group is a group of nodes as far as changes of its members go. Its answers to Reconfigure are scripted.
type group struct {
	mu       sync.Mutex
	epoch    uint64
	largest  uint32
	members  []*pb.GroupMember
	primary  uint32
	leaving  int // how often one who left says that he still helps
	script   []step
	asked    []*pb.ReconfigureRequest
	original Group
}

// step is what becomes of one Reconfigure that is no dry run, or is one.
type step struct {
	dry    bool
	code   pb.Code
	before func(*group, *pb.ReconfigureRequest) // what happens first
	broken bool                                 // the answer is lost
	lag    uint64
}

// groupNode is one node of it.
type groupNode struct {
	admin
	group *group
	self  *pb.GroupMember
	// cluster is another one's, if set.
	cluster []byte
}

func (n *groupNode) Membership(_ context.Context, request *pb.MembershipRequest) (*pb.MembershipResponse, error) {
	if request.GetGroup() != 1 {
		return &pb.MembershipResponse{Error: &pb.Error{Code: pb.Code_CODE_UNKNOWN_GROUP}}, nil
	}
	g := n.group
	g.mu.Lock()
	defer g.mu.Unlock()
	cluster := []byte{1}
	if n.cluster != nil {
		cluster = n.cluster
	}
	return &pb.MembershipResponse{Epoch: g.epoch, Members: g.members, LargestReplica: g.largest, Cluster: cluster, Durability: "sync", Self: n.self}, nil
}

func (n *groupNode) NodeStatus(context.Context, *pb.NodeStatusRequest) (*pb.NodeStatusResponse, error) {
	g := n.group
	g.mu.Lock()
	defer g.mu.Unlock()
	said := &pb.ReplicaStatus{Group: 1, Replica: n.self.GetReplica(), Status: "transitioning", View: g.epoch + 1}
	for _, member := range g.members {
		if member.GetReplica() == n.self.GetReplica() {
			said.Status, said.Serving = "normal", member.GetReplica() == g.primary
		}
	}
	if said.Status != "normal" && n.self.GetReplica() <= 3 {
		if said.Status = "left"; g.leaving > 0 {
			said.Status = "leaving"
			g.leaving--
		}
	}
	return &pb.NodeStatusResponse{Replicas: []*pb.ReplicaStatus{said}}, nil
}

func (n *groupNode) Reconfigure(_ context.Context, request *pb.ReconfigureRequest) (*pb.ReconfigureResponse, error) {
	g := n.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, request)
	next := step{dry: request.GetDryRun(), before: (*group).apply}
	if len(g.script) > 0 && g.script[0].dry == request.GetDryRun() {
		next, g.script = g.script[0], g.script[1:]
	}
	if next.before != nil && (!request.GetDryRun() || next.code != 0) {
		next.before(g, request)
	}
	if next.broken {
		return nil, status.Error(codes.Unavailable, "broken")
	}
	response := &pb.ReconfigureResponse{Epoch: request.GetEpoch(), Replicas: []*pb.ReplicaReport{
		{Member: &pb.GroupMember{Replica: 4, Incarnation: 9}, Will: true, Lag: next.lag, Heard: true, Ready: true},
	}}
	if next.code != 0 {
		response.Error = &pb.Error{Code: next.code, Message: "because"}
	}
	return response, nil
}

// apply has the change happen; others is somebody else's.
func (g *group) apply(request *pb.ReconfigureRequest) {
	if request.GetEpoch() == g.epoch+1 {
		g.epoch, g.members = request.GetEpoch(), request.GetMembers()
		g.primary = g.members[0].GetReplica()
	}
}

func (g *group) others(*pb.ReconfigureRequest) {
	g.epoch, g.members = g.epoch+1, g.members[:2]
	g.primary = 1
}

// serveGroup starts a group of three, and a newcomer's node, which it returns the address of.
func serveGroup(t *testing.T, script ...step) (*group, string) {
	t.Helper()
	g := &group{primary: 2, largest: 3, script: script, original: Group{ID: 1}}
	for replica := uint32(1); replica <= 3; replica++ {
		node := &groupNode{group: g, self: &pb.GroupMember{Replica: replica, Incarnation: 1}}
		node.self.Address = serveAdmin(t, node)
		g.members = append(g.members, node.self)
		g.original.Members = append(g.original.Members, Member{Replica: replica, Address: node.self.GetAddress()})
	}
	newcomer := &groupNode{group: g, self: &pb.GroupMember{Replica: 4, Incarnation: 9}}
	newcomer.self.Address = serveAdmin(t, newcomer)
	return g, newcomer.self.GetAddress()
}

func idsIn(members []*pb.GroupMember) (ids []uint32) {
	for _, member := range members {
		ids = append(ids, member.GetReplica())
	}
	return ids
}

func TestChangeMembers(t *testing.T) {
	dryOK, refused := step{dry: true}, func(code pb.Code) step { return step{dry: true, code: code} }
	for _, c := range []struct {
		name   string
		script []step
		is     error
		epoch  uint64 // afterwards
	}{
		{"at once", nil, nil, 1},
		{"when the newcomer is ready", []step{refused(pb.Code_CODE_UNAVAILABLE), refused(pb.Code_CODE_OVERLOADED), refused(pb.Code_CODE_DEADLINE)}, nil, 1},
		{"when it lags no more", []step{{dry: true, lag: lagMax + 1}, {dry: true, lag: lagMax}}, nil, 1},
		{"by the next primary", []step{refused(pb.Code_CODE_NOT_PRIMARY), dryOK, {code: pb.Code_CODE_NOT_PRIMARY}}, nil, 1},
		{"when the question was lost", []step{{dry: true, broken: true}}, nil, 1},
		{"when the first attempt was too early", []step{dryOK, {code: pb.Code_CODE_UNAVAILABLE}, {code: pb.Code_CODE_OVERLOADED}}, nil, 1},
		{"although nobody said so", []step{dryOK, {before: (*group).apply, code: pb.Code_CODE_OUTCOME_UNKNOWN}}, nil, 1},
		{"although the answer was lost", []step{dryOK, {before: (*group).apply, broken: true}}, nil, 1},
		{"by the second attempt", []step{dryOK, {broken: true}, {code: pb.Code_CODE_INTERNAL}, {code: pb.Code_CODE_INVALID_ARGUMENT}}, nil, 1},
		{"never", []step{refused(pb.Code_CODE_INVALID_ARGUMENT)}, ErrChange, 0},
		{"never, when it comes to it", []step{dryOK, {code: pb.Code_CODE_INVALID_ARGUMENT}}, ErrChange, 0},
		{"since somebody was faster", []step{{dry: true, code: pb.Code_CODE_INVALID_ARGUMENT, before: (*group).others}}, ErrMoved, 1},
		{"since somebody was faster in the end", []step{dryOK, {before: (*group).others, code: pb.Code_CODE_INVALID_ARGUMENT}}, ErrMoved, 1},
		{"since somebody was faster, after an attempt", []step{dryOK, {before: (*group).others, broken: true}}, ErrMoved, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, newcomer := serveGroup(t, c.script...)
			g.leaving = 2
			asked := 0
			done, err := ChangeMembers(t.Context(), g.original, Changing{Add: []string{newcomer}, Remove: []uint32{3}}, ChangeOptions{
				Progress: func([]ReplicaReport, error) { asked++ },
			})
			require.Empty(t, g.script)
			require.Equal(t, c.epoch, g.epoch)
			require.Positive(t, asked)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
				require.NotErrorIs(t, err, ErrChangeUnknown)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []uint32{1, 2, 4}, idsIn(g.members))
			require.Equal(t, []any{uint64(1), uint32(1), []uint32{3}, []uint32(nil)}, []any{done.Epoch, done.Primary, done.Left, done.Silent})
			require.EqualValues(t, 9, done.Members[2].Incarnation)
		})
	}
}

// A dry run changes nothing, and waits for nothing but a primary.
func TestDryRun(t *testing.T) {
	g, newcomer := serveGroup(t)
	changing := Changing{Add: []string{newcomer}}
	done, err := ChangeMembers(t.Context(), g.original, changing, ChangeOptions{DryRun: true})
	require.NoError(t, err)
	require.True(t, done.DryRun)
	require.Len(t, done.Members, 4)
	require.NotEmpty(t, done.Advice)
	g.script = []step{{dry: true, code: pb.Code_CODE_UNAVAILABLE}}
	_, err = ChangeMembers(t.Context(), g.original, changing, ChangeOptions{DryRun: true})
	require.ErrorIs(t, err, ErrNotChanged)
	require.ErrorContains(t, err, "because")
	for _, request := range g.asked {
		require.True(t, request.GetDryRun())
	}
	require.Zero(t, g.epoch)
}

// Where neither an answer comes nor anybody can be asked, the outcome is not known.
func TestChangeThatNobodyTellsOf(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	silence := func(g *group, _ *pb.ReconfigureRequest) {
		cancel()
		g.primary = 0
	}
	g, newcomer := serveGroup(t, step{dry: true}, step{before: silence, broken: true})
	_, err := ChangeMembers(ctx, g.original, Changing{Add: []string{newcomer}}, ChangeOptions{})
	require.ErrorIs(t, err, ErrChangeUnknown)
	require.NotErrorIs(t, err, ErrNotChanged)

	// So it is when other epochs have begun by the time that somebody can be asked.
	twice := func(g *group, request *pb.ReconfigureRequest) {
		g.apply(request)
		g.others(request)
	}
	g, newcomer = serveGroup(t, step{dry: true}, step{before: twice, broken: true})
	_, err = ChangeMembers(t.Context(), g.original, Changing{Add: []string{newcomer}}, ChangeOptions{})
	require.ErrorIs(t, err, ErrChangeUnknown)
	require.ErrorIs(t, err, ErrMoved)
}

func TestChangesThatAreNotAskedFor(t *testing.T) {
	g, newcomer := serveGroup(t)
	other := &groupNode{group: g, self: &pb.GroupMember{Replica: 5, Incarnation: 9}, cluster: []byte{2}}
	foreign := serveAdmin(t, other)
	other.self.Address = foreign
	twin := &groupNode{group: g, self: &pb.GroupMember{Replica: 4, Incarnation: 8}}
	twin.self.Address = serveAdmin(t, twin)
	for name, add := range map[string][]string{
		"of another cluster": {foreign}, "two with one id": {newcomer, twin.self.GetAddress()}, "a member": {g.members[0].GetAddress()},
		"of other groups": {serve(t)},
	} {
		_, err := ChangeMembers(t.Context(), g.original, Changing{Add: add}, ChangeOptions{})
		require.ErrorIs(t, err, ErrChange, name)
	}
	for _, dryRun := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := ChangeMembers(ctx, g.original, Changing{Add: []string{unused(t)}}, ChangeOptions{
			DryRun: dryRun, Progress: func([]ReplicaReport, error) { cancel() }, // it is waited for, if it may come
		})
		cancel()
		require.ErrorIs(t, err, ErrNotChanged)
		require.ErrorContains(t, err, "has to run")
	}
	_, err := ChangeMembers(t.Context(), Group{ID: 2, Members: g.original.Members}, Changing{Add: []string{newcomer}}, ChangeOptions{})
	require.ErrorIs(t, err, ErrNoReplica)
	require.Empty(t, g.asked)
}

// The members are found from those of long ago, as long as one of them answers; an address is filled in where only the
// caller knows it.
func TestFindMembers(t *testing.T) {
	g, newcomer := serveGroup(t)
	g.apply(&pb.ReconfigureRequest{Epoch: 1, Members: []*pb.GroupMember{
		{Replica: 2, Incarnation: 1}, {Replica: 4, Incarnation: 9, Address: newcomer},
	}})
	found, err := FindMembers(t.Context(), Group{ID: 1, Members: g.original.Members[1:2]})
	require.NoError(t, err)
	require.Equal(t, []EpochMember{
		{Replica: 2, Incarnation: 1, Address: g.original.Members[1].Address}, {Replica: 4, Incarnation: 9, Address: newcomer},
	}, found.Members)
	require.EqualValues(t, 2, found.Primary)
	require.Equal(t, map[uint32]uint64{2: 1, 4: 9}, found.Lives)
	require.Len(t, found.Replicas, 2)

	g.primary = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = AwaitMembers(ctx, g.original)
	require.ErrorIs(t, err, ErrNoPrimary)
	_, err = FindMembers(t.Context(), Group{ID: 1, Members: []Member{{Replica: 1, Address: unused(t)}}})
	require.ErrorIs(t, err, ErrNoPrimary)
	require.ErrorContains(t, err, "nobody of group 1 answers")
}

// unused is an address where nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())
	return nobody.Addr().String()
}
