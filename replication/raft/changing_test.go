package raft_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
	"github.com/viewline/viewline/replication/raft/rafttest"
)

const patience = 30 * time.Second

// lines is a state machine that remembers its operations.
type lines struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (l *lines) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, operation := range operations {
		l.all = append(l.all, string(operation))
	}
	return operations
}

func (l *lines) read() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *lines) Snapshot() (replication.Snapshot, error) {
	return said(strings.Join(l.read(), "\n")), nil
}

func (l *lines) Restore(r io.Reader) error {
	data, err := io.ReadAll(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = strings.Split(string(data), "\n")
	return err
}

// changing is a group whose members change. Replica i is at place i-1.
type changing struct {
	t       *testing.T
	ctx     context.Context
	network *rafttest.Network
	first   []replication.ReplicaID
	options func(*raft.Options)

	stores   []*raft.Storage
	lives    []uint64
	ask      [][]replication.ReplicaID // whom each begins with
	machines []*lines
	replicas []*raft.Replica // nil: it does not run
}

func newChanging(t *testing.T, n int, options func(*raft.Options)) *changing {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	t.Cleanup(cancel)
	g := &changing{t: t, ctx: ctx, network: rafttest.NewNetwork(), options: options}
	for i := range n {
		g.first = append(g.first, replication.ReplicaID(i+1))
	}
	t.Cleanup(func() {
		for _, replica := range g.replicas {
			if replica != nil {
				require.NoError(t, replica.Close())
			}
		}
	})
	for range n {
		g.start(g.grow())
	}
	return g
}

// grow makes room for one more replica and returns its place.
func (g *changing) grow() int {
	g.stores, g.lives, g.ask = append(g.stores, raft.NewMemoryStorage()), append(g.lives, 0), append(g.ask, g.first)
	g.machines, g.replicas = append(g.machines, nil), append(g.replicas, nil)
	return len(g.replicas) - 1
}

// join starts a newcomer, which asks the present members.
func (g *changing) join() int {
	i := g.grow()
	leader, _ := g.primary()
	g.ask[i] = g.replicas[leader].Status().Members
	g.start(i)
	return i
}

func (g *changing) start(i int) {
	g.t.Helper()
	id := replication.ReplicaID(i + 1)
	g.machines[i] = &lines{}
	options := raft.Options{
		Self: id, Members: g.ask[i], Joining: i >= len(g.first), Incarnation: g.lives[i], Storage: g.stores[i], StateMachine: g.machines[i],
		Transport: g.network.Join(id), ViewChangeTimeout: 300 * time.Millisecond, RequestTimeout: 300 * time.Millisecond, Logger: testLogger(),
	}
	if g.options != nil {
		g.options(&options)
	}
	replica, err := raft.Open(options)
	require.NoError(g.t, err)
	g.replicas[i] = replica
}

func (g *changing) stop(i int) {
	g.t.Helper()
	g.network.Join(replication.ReplicaID(i + 1)) // the old end is off the network
	require.NoError(g.t, g.replicas[i].Close())
	g.replicas[i] = nil
}

// wipe has a replica begin its next life.
func (g *changing) wipe(i int) {
	leader, _ := g.primary()
	g.ask[i] = g.replicas[leader].Status().Members
	g.stores[i] = raft.NewMemoryStorage()
	g.lives[i]++
}

// show tells what the replicas say, for a test that failed.
func (g *changing) show() string {
	var all strings.Builder
	for i, replica := range g.replicas {
		if replica != nil {
			s := replica.Status()
			fmt.Fprintf(&all, "%d: %s epoch %d members %v view %d primary %d op %d commit %d leading %v failure %v\n", i+1, s.Protocol, s.Epoch, s.Members, s.View, s.Primary, s.Op, s.Commit, s.Leading, s.Failure)
		}
	}
	return all.String()
}

func (g *changing) eventually(what string, is func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			require.Fail(g.t, what, g.show())
			g.t.FailNow()
		}
		<-time.After(time.Millisecond) // it looks again
	}
}

// primary waits until one leads.
func (g *changing) primary() (place int, view replication.ViewNumber) {
	g.t.Helper()
	g.eventually("one leads", func() bool {
		for i, replica := range g.replicas {
			if replica == nil {
				continue
			}
			if status := replica.Status(); status.Leading && status.View >= view {
				place, view = i, status.View
			}
		}
		return view > 0
	})
	return place, view
}

// commit has an operation done by whoever leads, whatever it takes; it may be there twice.
func (g *changing) commit(operation string) {
	g.t.Helper()
	g.eventually(operation, func() bool {
		leader, view := g.primary()
		return replication.Propose(g.ctx, g.replicas[leader], view, []byte(operation)).Err == nil
	})
}

// at are the members at these places, with their addresses.
func (g *changing) at(places ...int) []replication.Member {
	members := make([]replication.Member, len(places))
	for i, place := range places {
		members[i] = replication.Member{ID: replication.ReplicaID(place + 1), Incarnation: g.lives[place], Address: fmt.Sprintf("host-%d:1", place+1)}
	}
	return members
}

// become changes the members to those at these places, and waits until all of them have settled in.
func (g *changing) become(places ...int) replication.Report {
	g.t.Helper()
	report := g.change(places...)
	g.settled(report.Epoch, places...)
	return report
}

// change changes the members, waiting for newcomers and for a primary.
func (g *changing) change(places ...int) (report replication.Report) {
	g.t.Helper()
	var err error
	g.eventually("the members change", func() bool {
		leader, _ := g.primary()
		before := g.replicas[leader].Membership()
		report, err = g.replicas[leader].Reconfigure(g.ctx, replication.Change{Epoch: before.Epoch + 1, Members: g.at(places...)})
		retry := errors.Is(err, replication.ErrNewcomer) || errors.Is(err, replication.ErrQuorum) || errors.Is(err, replication.ErrNotPrimary)
		require.True(g.t, err == nil || retry, "%v", err)
		return err == nil
	})
	return report
}

// settled waits until exactly these are members, in this epoch, one of them leads, and all that run know it.
func (g *changing) settled(epoch uint64, places ...int) {
	g.t.Helper()
	var ids []replication.ReplicaID
	for _, place := range places {
		ids = append(ids, replication.ReplicaID(place+1))
	}
	slices.Sort(ids)
	g.eventually(fmt.Sprintf("epoch %d of %v", epoch, ids), func() bool {
		leading := false
		for _, place := range places {
			if g.replicas[place] == nil {
				continue
			}
			status := g.replicas[place].Status()
			if status.Epoch != epoch || status.Protocol != "normal" || !slices.Equal(status.Members, ids) {
				return false
			}
			leading = leading || status.Leading
		}
		return leading
	})
}

// has waits until the replicas at these places have an operation.
func (g *changing) has(operation string, places ...int) {
	g.t.Helper()
	for _, place := range places {
		g.eventually(fmt.Sprintf("%d has %q", place+1, operation), func() bool { return slices.Contains(g.machines[place].read(), operation) })
	}
}

func (g *changing) protocol(place int, want string) {
	g.t.Helper()
	g.eventually(fmt.Sprintf("%d is %s", place+1, want), func() bool { return g.replicas[place].Status().Protocol == want })
}

// load is callers who go on until they are stopped, and what became of what they asked.
type load struct {
	name     string // no other has it
	stop     atomic.Bool
	done     atomic.Uint64
	callers  sync.WaitGroup
	mu       sync.Mutex
	answered []string        // done, for certain; guarded by mu
	unknown  map[string]bool // guarded by mu
	bad      []error         // guarded by mu
}

// underLoad has callers ask whoever leads of those who run now.
func (g *changing) underLoad(name string, callers int) *load {
	l := &load{name: name, unknown: map[string]bool{}}
	replicas := slices.DeleteFunc(slices.Clone(g.replicas), func(r *raft.Replica) bool { return r == nil })
	for caller := range callers {
		l.callers.Go(func() {
			for n := 0; !l.stop.Load(); n++ {
				l.one(g.ctx, replicas, fmt.Sprintf("%s, caller %d operation %d", name, caller, n))
			}
		})
	}
	return l
}

// one has one operation done, or not known.
func (l *load) one(ctx context.Context, replicas []*raft.Replica, operation string) {
	for at := 0; ; at = (at + 1) % len(replicas) {
		status := replicas[at].Status()
		result := replication.Propose(ctx, replicas[at], status.View, []byte(operation))
		switch {
		case result.Err == nil:
			l.done.Add(1)
			l.mu.Lock()
			l.answered = append(l.answered, operation)
			l.mu.Unlock()
			return
		case errors.Is(result.Err, replication.ErrOutcomeUnknown):
			l.mu.Lock()
			l.unknown[operation] = true
			l.mu.Unlock()
			return
		case l.stop.Load(), ctx.Err() != nil:
			return
		case !errors.Is(result.Err, replication.ErrNotPrimary) && !errors.Is(result.Err, replication.ErrClosed):
			l.mu.Lock()
			l.bad = append(l.bad, result.Err)
			l.mu.Unlock()
			return
		}
		<-time.After(time.Millisecond) // it asks the next one
	}
}

// more waits until so many more operations are done.
func (g *changing) more(l *load, operations uint64) {
	g.t.Helper()
	before := l.done.Load()
	g.eventually("callers get on", func() bool { return l.done.Load() >= before+operations })
}

// end stops the callers, and looks for what they were answered in the state of these: each is there once.
func (g *changing) end(l *load, places ...int) {
	g.t.Helper()
	l.stop.Store(true)
	l.callers.Wait()
	require.Empty(g.t, l.bad)
	require.NotEmpty(g.t, l.answered)
	last := "the last of " + l.name
	g.commit(last)
	g.has(last, places...)
	for _, place := range places {
		count := map[string]int{}
		for _, operation := range g.machines[place].read() {
			count[operation]++
		}
		for _, operation := range l.answered {
			require.Equal(g.t, 1, count[operation], "%s at %d", operation, place+1)
		}
		for operation := range l.unknown {
			require.LessOrEqual(g.t, count[operation], 1, operation)
		}
	}
}
