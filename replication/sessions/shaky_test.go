package sessions

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// shaky is a group of one machine behind a network that loses, delays and doubts. Every operation that reaches the
// log is executed once: what happens more often was sent more often.
type shaky struct {
	t       *testing.T
	mu      sync.Mutex // guards what follows
	random  *rand.Rand
	inner   *counter
	machine *Machine
	op      replication.OpNumber
	late    [][]byte // in the log some time
	options Options
	seen    map[string]int
	// calm: everything is executed and answered at once.
	calm bool
}

func newShaky(t *testing.T, seed uint64, options Options) *shaky {
	inner := newCounter()
	return &shaky{
		t: t, random: rand.New(rand.NewPCG(seed, 2)), inner: inner, machine: newMachine(t, inner, options), options: options,
		seen: map[string]int{},
	}
}

func (g *shaky) propose(ctx context.Context, operation []byte) replication.Result {
	g.mu.Lock()
	pause := time.Duration(g.random.IntN(8)) * time.Millisecond
	if g.calm {
		pause = 0
	}
	g.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return g.fate(operation, context.Cause(ctx))
	}
	return g.fate(operation, nil)
}

// fate decides what becomes of one attempt.
func (g *shaky) fate(operation []byte, ended error) replication.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calm && ended == nil {
		return g.log(operation)
	}
	if g.random.IntN(40) == 0 {
		g.restart()
	}
	for len(g.late) > 0 && g.random.IntN(3) == 0 {
		g.seen["late copies"]++
		i := g.random.IntN(len(g.late))
		g.log(g.late[i])
		g.late = append(g.late[:i], g.late[i+1:]...)
	}
	fate := g.random.IntN(10)
	if ended != nil {
		fate %= 3
	}
	unknown := replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, errDoubt)}
	switch fate {
	case 0:
		g.seen["lost"]++
		return unknown
	case 1:
		g.seen["answers lost"]++
		g.log(operation)
		return unknown
	case 2:
		g.seen["late"]++
		g.late = append(g.late, operation)
		return unknown
	case 3:
		g.seen["not primary"]++
		return replication.Result{Err: &replication.NotPrimaryError{View: 1}}
	case 4:
		if g.random.IntN(4) == 0 {
			g.seen["overloaded"]++
			return replication.Result{Err: replication.ErrOverloaded}
		}
	}
	g.seen["clean"]++
	return g.log(operation)
}

var errDoubt = fmt.Errorf("the line went dead")

func (g *shaky) log(operation []byte) replication.Result {
	g.op++
	return replication.Result{Op: g.op, Value: g.machine.Apply(g.op, [][]byte{bytes.Clone(operation)})[0]}
}

// restart replaces the machine by one that was restored from its checkpoint.
func (g *shaky) restart() {
	g.seen["restarts"]++
	data := snapshotBytes(g.t, g.machine)
	for name, n := range g.machine.Counters() {
		g.seen[name] += int(n)
	}
	g.inner = newCounter()
	g.machine = newMachine(g.t, g.inner, g.options)
	if err := g.machine.Restore(bytes.NewReader(data)); err != nil {
		panic(err)
	}
}

// flush brings all late copies into the log and the network into order.
func (g *shaky) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, operation := range g.late {
		g.log(operation)
	}
	g.late, g.calm = nil, true
	g.restart()
}

func (g *shaky) times(id uint64) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inner.times[id]
}

// strangers registers sessions that push others out.
func (g *shaky) strangers(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range n {
		g.log(table.Register(g.random.Uint64()))
	}
}

// client makes one that draws from the group's own random numbers.
func (g *shaky) client(options ClientOptions) *Client {
	options.Rand = func() uint64 {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.random.Uint64()
	}
	c, err := NewClient(g.propose, options)
	require.NoError(g.t, err)
	return c
}

// valueIs says whether a reply is that of the request.
func valueIs(reply Reply, id uint64) bool {
	return reply.Op > 0 && (reply.Dropped && reply.Value == nil || !reply.Dropped && len(reply.Value) == 8 && binary.LittleEndian.Uint64(reply.Value) == id)
}
