package vr_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/storage"
)

// The way of one operation through a group of three, as its primary and one of its backups see it. What tells of
// the beginning, of heartbeats and of the slower backup is left out here.
func ExampleOptions_trace() {
	network := newNetwork()
	var traces []*trace
	var replicas []*vr.Replica
	for i := range 3 {
		traces = append(traces, newTrace())
		replica, err := vr.Open(vr.Options{
			Self: replication.ReplicaID(i + 1), Members: []replication.ReplicaID{1, 2, 3}, Transport: network.join(core.ReplicaID(i + 1)),
			Storage: storage.NewMemory(), StateMachine: &counter{}, Trace: traces[i].add, HeartbeatInterval: 20 * time.Millisecond,
			ViewChangeTimeoutMin: time.Minute, ResendInterval: time.Minute,
		})
		if err != nil {
			panic(err)
		}
		defer func() { _ = replica.Close() }()
		replicas = append(replicas, replica)
	}
	primary, event := leading(replicas)
	p := int(primary.Status().Replica) - 1
	for _, backup := range []core.ReplicaID{core.ReplicaID((p+1)%3 + 1), core.ReplicaID((p+2)%3 + 1)} {
		traces[p].until(func(e vr.TraceEvent) bool { // it is in the view
			return e.Kind == vr.TraceReceived && e.Message.Kind == core.KindCommitOK && e.Message.From == backup
		})
	}
	if result := replication.Propose(context.Background(), primary, event.View, []byte{42}); result.Err != nil {
		panic(result.Err)
	}
	fmt.Println("primary")
	fmt.Print(story(traces[p].until(func(e vr.TraceEvent) bool { return e.Kind == vr.TraceApplied })))
	fmt.Println("backup")
	fmt.Print(story(traces[(p+1)%3].until(func(e vr.TraceEvent) bool {
		return e.Kind == vr.TraceSent && e.Message.Kind == core.KindPrepareOK && e.Message.Op == 1
	})))
	// Output:
	// primary
	//   op 1
	//   sent PREPARE 1
	//   sent PREPARE 1
	//   received PREPAREOK 1
	//   commit 1
	//   applied 1
	// backup
	//   received PREPARE 1
	//   op 1
	//   durable 1
	//   sent PREPAREOK 1
}

// trace keeps the events of one replica.
type trace struct {
	mu     sync.Mutex
	more   *sync.Cond // on mu: there is another event
	events []vr.TraceEvent
}

func newTrace() *trace {
	t := &trace{}
	t.more = sync.NewCond(&t.mu)
	return t
}

// add is an Options.Trace.
func (t *trace) add(event vr.TraceEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if event.Message != nil {
		message := *event.Message // it is the replica's own, afterwards
		event.Message = &message
	}
	t.events = append(t.events, event)
	t.more.Broadcast()
}

// until waits until there is an event that has it, and returns all events up to that one.
func (t *trace) until(has func(vr.TraceEvent) bool) []vr.TraceEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if at := slices.IndexFunc(t.events, has); at >= 0 {
			return t.events[: at+1 : at+1]
		}
		t.more.Wait()
	}
}

func (t *trace) all() []vr.TraceEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// story writes how operation 1 came into a log, to others and back. At the primary that is over with the quorum, of
// which its own disk is a part or a second backup; a backup hears of it sooner or later.
func story(events []vr.TraceEvent) (story string) {
	backup, acknowledged := events[len(events)-1].Kind == vr.TraceSent, false
	for _, event := range events {
		switch m, state := event.Message, event.State; {
		case m != nil && m.Op == 1 && m.Kind == core.KindPrepareOK && acknowledged:
		case m != nil && m.Op == 1 && (m.Kind == core.KindPrepare || m.Kind == core.KindPrepareOK) && (backup || state.Commit == 0):
			acknowledged = m.Kind == core.KindPrepareOK
			story += fmt.Sprintf("  %v %v %d\n", event.Kind, m.Kind, m.Op)
		case event.Kind == vr.TraceOp:
			story += fmt.Sprintf("  op %d\n", state.Op)
		case event.Kind == vr.TraceDurable && event.Durable > 0 && backup:
			story += fmt.Sprintf("  durable %d\n", event.Durable)
		case event.Kind == vr.TraceCommit && !backup:
			story += fmt.Sprintf("  commit %d\n", state.Commit)
		case event.Kind == vr.TraceApplied && !backup:
			story += fmt.Sprintf("  applied %d\n", state.Applied)
		}
	}
	return story
}

// TestTraceMissesNothing: whatever was received had been sent by somebody, in the order of one clock for all; the
// changes that are told lead to the state that the replica has; and a checkpoint that is fetched, a refused message
// and a stop are told.
func TestTraceMissesNothing(t *testing.T) {
	var mu sync.Mutex // one clock
	traces := []*trace{newTrace(), newTrace(), newTrace()}
	sent := map[string]int{}
	g := newGroup(t, 3, func(o *vr.Options) {
		self := o.Self
		o.CheckpointEvery = 20
		o.Trace = func(event vr.TraceEvent) {
			mu.Lock()
			defer mu.Unlock()
			if m := event.Message; m != nil {
				name := fmt.Sprint(m.Kind, m.From, m.To, m.View, m.Op, m.Commit, m.Nonce, m.Round, m.First, len(m.Entries), m.Hash)
				if event.Kind == vr.TraceSent {
					sent[name]++
				} else if sent[name]--; sent[name] < 0 {
					t.Errorf("replica %d received what was not sent: %s", self, name)
				}
			}
			traces[self-1].add(event)
		}
	})
	g.mustCommit(1, 10)
	leader, _ := g.primary()
	late := g.backups(leader)[0]
	g.stop(late)
	g.mustCommit(11, 200)
	g.start(late)
	g.converged(200)
	g.stop(leader)
	g.mustCommit(201, 210)
	for _, kind := range []vr.TraceKind{vr.TraceFetch, vr.TraceFetched} {
		traces[late].until(func(event vr.TraceEvent) bool { return event.Kind == kind })
	}
	g.closeAll()
	for i := range traces {
		checkTrace(t, traces[i].all())
	}
}

// checkTrace holds every event against the state before it.
func checkTrace(t *testing.T, events []vr.TraceEvent) {
	t.Helper()
	told := map[vr.TraceKind]int{}
	var state core.ReplicaStatus
	for i, event := range events {
		told[event.Kind]++
		changes := event.Kind >= vr.TraceStatus && event.Kind <= vr.TraceLeading
		if !changes && told[vr.TraceView] > 0 {
			require.Equal(t, state, event.State, "before event %d, %v, was a change that was not told", i, event.Kind)
		}
		message := event.Kind == vr.TraceReceived || event.Kind == vr.TraceRefused || event.Kind == vr.TraceSent
		require.Equal(t, message, event.Message != nil)
		state = event.State
	}
	for kind := vr.TraceReceived; kind <= vr.TraceCheckpoint; kind++ {
		require.Equal(t, kind != vr.TraceRefused, told[kind] > 0, kind)
	}
}

// TestTraceTellsRefusalAndStop: a member that sends what no correct one does, and a disk that fails.
func TestTraceTellsRefusalAndStop(t *testing.T) {
	told, broken := newTrace(), storage.NewFailing(storage.NewMemory())
	g := newGroupOver(t, []vr.Storage{storage.NewMemory(), broken, storage.NewMemory()}, func(o *vr.Options) {
		if o.Self == 2 {
			o.Trace = told.add
		}
	})
	g.mustCommit(1, 1)
	ofView0 := []byte{8, byte(core.KindPrepareOK)}
	g.network.way(99, 2).receive(1, ofView0)
	events := told.until(func(event vr.TraceEvent) bool { return event.Kind == vr.TraceRefused })
	last := events[len(events)-1]
	require.ErrorIs(t, last.Err, core.ErrRefused)
	require.Equal(t, core.KindPrepareOK, last.Message.Kind)
	require.Equal(t, vr.TraceReceived, events[len(events)-2].Kind)

	broken.Fail(storage.Fault{Call: storage.CallWrite, Nth: 1})
	g.mustCommit(2, 2)
	events = told.until(func(event vr.TraceEvent) bool { return event.Kind == vr.TraceStopped })
	require.ErrorIs(t, events[len(events)-1].Err, storage.ErrInjected)
}
