package coordinator

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/internal/placement"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var theCluster = [16]byte{1, 2, 3}

// layoutMessage has the coordinator at c1, c2, c3 and two shards.
func layoutMessage() *pb.ShardMap {
	group := func(id uint32, addresses ...string) *pb.Group {
		g := &pb.Group{Id: id}
		for i, address := range addresses {
			g.Members = append(g.Members, &pb.Member{Replica: uint32(i + 1), Address: address})
		}
		return g
	}
	slots := placement.Even([]uint32{1, 2})
	return &pb.ShardMap{
		Version: 1, Technique: pb.Technique_TECHNIQUE_HASH, Coordinator: group(0, "c1", "c2", "c3"),
		Shards: []*pb.Group{group(1, "a1", "a2", "a3"), group(2, "b1", "b2", "b3")}, Slots: slots[:],
	}
}

// group is a twin of a replicated group: a log that every member applies at once, and a primary that the test
// names. Whatever it is asked it answers from one goroutine of its own, in order.
type group struct {
	work    chan func()
	members []*member

	mu      sync.Mutex
	primary *member
	view    replication.ViewNumber
	op      replication.OpNumber
	present replication.Membership // without members: the group does not say
}

// member is one replica of it, with its server.
type member struct {
	group  *group
	id     replication.ReplicaID
	server *Server
	events chan replication.Event

	mu       sync.Mutex // guards what follows; taken after the group's
	believes bool       // that it leads; only its events and status say so
	view     replication.ViewNumber
	hold     bool // rounds are kept back
	holdOps  bool // operations are
	held     []func()
	failures []error // of the next operations and rounds
	rounds   int
	submits  int
}

func newGroup(t *testing.T, size int, change func(*Options)) *group {
	g := &group{work: make(chan func(), 1<<16)}
	var working sync.WaitGroup
	working.Go(func() {
		for work := range g.work {
			work()
		}
	})
	for i := range size {
		options := Options{Cluster: theCluster, Layout: layoutMessage()}
		if change != nil {
			change(&options)
		}
		s, err := New(options)
		require.NoError(t, err)
		m := &member{group: g, id: replication.ReplicaID(i + 1), server: s, events: make(chan replication.Event, 1)}
		g.members = append(g.members, m)
		s.Attach(m)
	}
	t.Cleanup(func() {
		for _, m := range g.members {
			require.NoError(t, m.server.Close())
		}
		close(g.work)
		working.Wait()
	})
	return g
}

// lead makes a member primary of the next view. Those who led before hear of it unless they are deaf.
func (g *group) lead(m *member, deaf bool) {
	g.mu.Lock()
	before := g.primary
	g.primary = m
	g.view++
	view := g.view
	g.mu.Unlock()
	for _, each := range g.members {
		if each == m || each != before || !deaf {
			each.tell(each == m, view)
		}
	}
	synctest.Wait()
}

func (m *member) tell(leads bool, view replication.ViewNumber) {
	m.mu.Lock()
	m.believes, m.view = leads, view
	m.mu.Unlock()
	select {
	case <-m.events:
	default:
	}
	m.events <- replication.Event{Leading: leads, View: view}
}

// fails has the next operation or round fail.
func (m *member) fails(errs ...error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures = append(m.failures, errs...)
}

// refused returns why the group refuses what was asked of this member in that view.
func (m *member) refused(view replication.ViewNumber) error {
	m.mu.Lock()
	var failure error
	if len(m.failures) > 0 {
		failure, m.failures = m.failures[0], m.failures[1:]
	}
	m.mu.Unlock()
	if failure != nil {
		return failure
	}
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	if m.group.primary != m || m.group.view != view {
		return &replication.NotPrimaryError{View: m.group.view, Primary: m.group.primary.id}
	}
	return nil
}

func (m *member) Submit(view replication.ViewNumber, operation []byte, done func(replication.Result)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.submits++
	work := func() {
		if err := m.refused(view); err != nil {
			done(replication.Result{Err: err})
			return
		}
		m.group.op++
		var value []byte
		for _, each := range m.group.members {
			if results := each.server.StateMachine().Apply(m.group.op, [][]byte{operation}); each == m {
				value = results[0]
			}
		}
		done(replication.Result{Op: m.group.op, Value: value})
	}
	if m.holdOps {
		m.held = append(m.held, work)
		return
	}
	m.group.work <- work
}

// holdsOps keeps operations back from now on, or lets those go that are.
func (m *member) holdsOps(hold bool) {
	m.mu.Lock()
	m.holdOps = hold
	m.mu.Unlock()
	if !hold {
		m.holds(false)
	}
}

func (m *member) Membership() replication.Membership {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	return m.group.present
}

func (m *member) Reconfigure(context.Context, replication.Change) (replication.Report, error) {
	return replication.Report{}, errors.ErrUnsupported
}

// reconfigured has everybody know of the members of an epoch.
func (g *group) reconfigured(epoch uint64, members ...replication.Member) {
	g.mu.Lock()
	g.present = replication.Membership{Epoch: epoch, Members: members}
	g.mu.Unlock()
}

func (m *member) ReadBarrier(view replication.ViewNumber, done func(error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rounds++
	work := func() { done(m.refused(view)) }
	if m.hold {
		m.held = append(m.held, work)
		return
	}
	m.group.work <- work
}

// holds keeps rounds back from now on, or lets those go that are.
func (m *member) holds(hold bool) {
	m.mu.Lock()
	held := m.held
	m.hold, m.held = hold, nil
	m.mu.Unlock()
	for _, work := range held {
		m.group.work <- work
	}
	synctest.Wait()
}

func (m *member) Events() <-chan replication.Event { return m.events }

func (m *member) Status() replication.Status {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	status := replication.Status{Replica: m.id, View: m.view, Leading: m.believes}
	if m.group.primary != nil {
		status.Primary = m.group.primary.id
	}
	if m.believes {
		status.Primary = m.id
	}
	return status
}

func (m *member) Checkpoint(context.Context) error { return errors.ErrUnsupported }

func (m *member) Close() error { return nil }

// asked returns how many rounds and operations this member was asked for.
func (m *member) asked() (rounds, submits int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rounds, m.submits
}

// ask hands a request to a member's server; the answer comes in the channel.
func (m *member) ask(body *pb.Request, deadline time.Time) <-chan *pb.Response {
	answers := make(chan *pb.Response, 2)
	m.server.Handle(body, deadline, func(response *pb.Response) { answers <- response })
	return answers
}

func timestamps(count uint32) *pb.Request {
	return &pb.Request{Body: &pb.Request_Timestamps{Timestamps: &pb.TimestampsRequest{Count: count}}}
}

func bound() *pb.Request { return &pb.Request{Body: &pb.Request_Bound{Bound: &pb.BoundRequest{}}} }

func whoServes(oids ...string) *pb.Request {
	body := &pb.WhoServesRequest{}
	for _, oid := range oids {
		body.Oids = append(body.Oids, []byte(oid))
	}
	return &pb.Request{Body: &pb.Request_WhoServes{WhoServes: body}}
}

func report(group uint32, view uint64, replica uint32, address string) *pb.Request {
	return &pb.Request{Body: &pb.Request_ReportPrimary{ReportPrimary: &pb.ReportPrimaryRequest{
		Primary: &pb.Primary{Group: group, View: view, Replica: replica, Address: address},
	}}}
}

// reportOf is the report of a primary that names the members of its epoch.
func reportOf(primary *pb.Primary, members ...*pb.Member) *pb.Request {
	return &pb.Request{Body: &pb.Request_ReportPrimary{ReportPrimary: &pb.ReportPrimaryRequest{
		Primary: primary, Group: &pb.Group{Id: primary.GetGroup(), Epoch: primary.GetEpoch(), Members: members},
	}}}
}

func memberAt(replica uint32, address string) *pb.Member {
	return &pb.Member{Replica: replica, Address: address}
}
