package replicationtest

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions"
)

// behindSessions has each replica's state machine behind a client-table.
func behindSessions(b Backend, options sessions.Options) Backend {
	inner := b.Open
	b.Open = func(directory string, o Options) (replication.Replicator, func(), error) {
		machine, err := sessions.New(o.StateMachine, options)
		if err != nil {
			return nil, nil, err
		}
		o.StateMachine = machine
		return inner(directory, o)
	}
	return b
}

// caller is a client of sessions, and what it has sent.
type caller struct {
	*sessions.Client
	g *group

	mu   sync.Mutex // guards sent
	sent [][]byte
}

func (g *group) newCaller() *caller {
	g.t.Helper()
	c := &caller{g: g}
	client, err := sessions.NewClient(c.propose, sessions.ClientOptions{})
	require.NoError(g.t, err)
	c.Client = client
	return c
}

// propose makes one attempt at whoever leads.
func (c *caller) propose(ctx context.Context, operation []byte) replication.Result {
	c.mu.Lock()
	c.sent = append(c.sent, operation)
	c.mu.Unlock()
	replica, view := c.g.leading()
	if replica == nil {
		return replication.Result{Err: &replication.NotPrimaryError{}}
	}
	attempt, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return replication.Propose(attempt, replica, view, operation)
}

// mustDo has operations executed one after the other.
func (c *caller) mustDo(first, last int) {
	c.g.t.Helper()
	for i := first; i <= last; i++ {
		reply, err := c.Do(c.g.ctx, operation(i))
		require.NoError(c.g.t, err)
		require.Equal(c.g.t, operation(i), reply.Value)
	}
}

// copies are the requests that were sent for an operation, as they were sent.
func (c *caller) copies(operation []byte) (copies [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, each := range c.sent {
		if bytes.HasSuffix(each, operation) {
			copies = append(copies, each)
		}
	}
	return copies
}

// ask asks what became of a request of before.
func (c *caller) ask(request []byte) (sessions.Reply, error) {
	return c.Ask(c.g.ctx, &sessions.UnknownError{Operation: request})
}

// requestsOnce: through the client-table every request happens once, though primaries die and outcomes are in doubt.
func requestsOnce(t T, b Backend) {
	g := newGroup(t, behindSessions(b, sessions.Options{}), 3, Options{CheckpointEvery: 30})
	c, last := g.newCaller(), 0
	for range 3 {
		c.mustDo(last+1, last+10)
		primary, _ := g.primary()
		g.crash(primary)
		c.mustDo(last+11, last+20)
		last += 20
		g.start(primary)
		g.eventually("it takes part again", func() bool {
			_, err := c.Do(g.ctx, []byte("keeps the group busy"))
			return err == nil && g.replicas[primary].Status().Protocol == "normal"
		})
	}
	g.finished(last)
}

// requestsOnceAcrossCheckpoints: a replica that got the state by a checkpoint, and then all after a restart, know every
// request that was made: copies of them that come late have no effect, and the newest has the reply that it had.
func requestsOnceAcrossCheckpoints(t T, b Backend) {
	g := newGroup(t, behindSessions(b, sessions.Options{}), 3, Options{})
	c := g.newCaller()
	c.mustDo(1, 5)
	primary, _ := g.primary()
	late := g.backups(primary)[0]
	g.stop(late)
	last := 5
	for range 3 {
		c.mustDo(last+1, last+10)
		last += 10
		g.checkpointAll()
	}
	g.start(late)
	g.converged(last)
	require.NotZero(t, g.journal(late).restored())
	g.transfer(late)
	c.repeats(last)
	for i := range g.replicas {
		g.stop(i)
	}
	g.startAll()
	c.repeats(last)
	c.mustDo(last+1, last+5)
	g.finished(last + 5)
}

// repeats proposes all requests once more.
func (c *caller) repeats(last int) {
	c.g.t.Helper()
	for i := 1; i <= last; i++ {
		copies := c.copies(operation(i))
		require.NotEmpty(c.g.t, copies)
		reply, err := c.ask(copies[0])
		if i == last {
			require.NoError(c.g.t, err)
			require.Equal(c.g.t, operation(i), reply.Value)
		} else {
			require.ErrorIs(c.g.t, err, sessions.ErrBelowWindow, "a later one has said that its reply is there")
		}
	}
	c.g.holds(c.g.read(), last)
}

// windowOfASession: no more requests of one session are under way than its window has room for, and each happens once.
func windowOfASession(t T, b Backend) {
	g := newGroup(t, behindSessions(b, sessions.Options{WindowMax: 4}), 3, Options{})
	c := g.newCaller()
	var callers sync.WaitGroup
	errs := make(chan error, 160)
	for each := range 16 {
		callers.Go(func() {
			for i := range 10 {
				_, err := c.Do(g.ctx, operationOf("of a caller", each, i))
				errs <- err
			}
		})
	}
	callers.Wait()
	for range 160 {
		require.NoError(t, <-errs)
	}
	reader := g.read()
	for each := range 16 {
		for i := range 10 {
			require.Equal(t, 1, g.machines[reader].times(operationOf("of a caller", each, i)))
		}
	}
	g.converged(160)
}

// droppedSession: whoever asks for a request of it is told that nobody knows any more, and no copy happens.
func droppedSession(t T, b Backend) {
	g := newGroup(t, behindSessions(b, sessions.Options{SessionsMax: 2}), 3, Options{})
	first := g.newCaller()
	first.mustDo(1, 1)
	for i := range 3 {
		_, err := g.newCaller().Do(g.ctx, operationOf("of another", 0, i))
		require.NoError(t, err)
	}
	_, err := first.ask(first.copies(operation(1))[0])
	var unknown *sessions.UnknownError
	require.ErrorAs(t, err, &unknown)
	require.ErrorIs(t, err, sessions.ErrSessionDropped)
	require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
	first.mustDo(2, 5) // in a session of its own again
	g.finished(5)
}
