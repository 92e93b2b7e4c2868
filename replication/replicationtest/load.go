package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
)

// load is callers that propose one operation after the other to whoever leads.
type load struct {
	g       *group
	stop    context.CancelFunc
	callers sync.WaitGroup

	mu   sync.Mutex // guards what follows
	all  []proposal
	done int
}

// underLoad starts callers. They are stopped at the end of the test, if not before.
func (g *group) underLoad(callers int) *load {
	ctx, cancel := context.WithCancel(g.ctx)
	l := &load{g: g, stop: cancel}
	g.t.Cleanup(func() { l.end() })
	for caller := range callers {
		l.callers.Go(func() { l.call(ctx, caller) })
	}
	return l
}

// call proposes until it is stopped, each time something else.
func (l *load) call(ctx context.Context, caller int) {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for n := 0; ctx.Err() == nil; <-pause.C {
		replica, view := l.g.leading()
		if replica == nil {
			continue
		}
		operation := fmt.Appendf(nil, "caller %d, operation %d", caller, n)
		// It waits for the outcome when it is stopped, too: whoever gives up knows nothing.
		l.note(proposal{operation, replication.Propose(l.g.ctx, replica, view, operation)})
		n++
	}
}

// leading is the replica that leads the latest view at this moment, or nil.
func (g *group) leading() (leader replication.Replicator, view replication.ViewNumber) {
	for _, replica := range g.running() {
		if status := replica.Status(); status.Leading && status.View > view {
			leader, view = replica, status.View
		}
	}
	return leader, view
}

func (l *load) note(p proposal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, p)
	if p.result.Err == nil {
		l.done++
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// more waits until so many more operations have happened.
func (l *load) more(operations int) {
	l.g.t.Helper()
	before := l.count()
	l.g.eventually("callers get on", func() bool { return l.count() >= before+operations })
}

// end stops the callers and returns what they proposed.
func (l *load) end() []proposal {
	l.stop()
	l.callers.Wait()
	return l.all
}

// unknown is how many outcomes nobody knows.
func unknown(all []proposal) (n int) {
	for _, p := range all {
		if errors.Is(p.result.Err, replication.ErrOutcomeUnknown) {
			n++
		}
	}
	return n
}

// account stops the callers, waits until all replicas have the same, and judges what the callers were told at each of
// them. It returns what they proposed.
func (g *group) account(l *load) []proposal {
	g.t.Helper()
	all := l.end()
	g.read()
	g.converged(l.count())
	for i, replica := range g.replicas {
		if replica != nil {
			g.judge(i, all)
		}
	}
	return all
}
