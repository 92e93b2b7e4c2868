package backends

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
)

const (
	// callTimeout bounds what a process does at once, on a machine that is ever so busy.
	callTimeout = 30 * time.Second
	// patience bounds what a group needs time-outs and elections for.
	patience = 2 * time.Minute
	// pollPause is between two looks at a group.
	pollPause = 5 * time.Millisecond
	// commitsMax is how many commits may wait to be looked at.
	commitsMax = 1024
)

// ErrVoid says that a run proves nothing: nothing was committed, or its primary lost the role.
var ErrVoid = errors.New("backends: void run")

// ErrDiffers says that replicas ended in different states, or in one that is not what was acknowledged.
var ErrDiffers = errors.New("backends: the states are not what was acknowledged")

// group is the processes of one group, in a directory of its own.
type group struct {
	backend    string
	durability string
	command    []string
	terms      Terms
	audit      bool
	directory  string
	commits    chan commit
	members    map[replication.ReplicaID]string
	children   []*child // by id - 1; a killed one stays in its place
	loads      uint32   // so far
}

// startGroup starts replicas 1 to n, and waits until one leads and all are with it.
func startGroup(ctx context.Context, o Options, backend, durability string, n int, audit bool) (*group, error) {
	directory, err := os.MkdirTemp(o.Directory, "viewline-bench-")
	if err != nil {
		return nil, fmt.Errorf("backends: %w", err)
	}
	g := &group{
		backend: backend, durability: durability, command: o.Command, terms: o.Terms, audit: audit, directory: directory,
		commits: make(chan commit, commitsMax), members: map[replication.ReplicaID]string{}, children: make([]*child, n),
	}
	for id := replication.ReplicaID(1); id <= replication.ReplicaID(n) && err == nil; id++ {
		if err = os.Mkdir(g.place(id), 0o700); err == nil {
			err = g.start(ctx, id)
		}
	}
	if err == nil {
		err = g.each(func(c *child) error { return g.open(ctx, c, true) })
	}
	if err == nil {
		err = g.awaitWhole(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.abandon())
	}
	return g, nil
}

func (g *group) place(id replication.ReplicaID) string {
	return filepath.Join(g.directory, fmt.Sprint(id))
}

// start starts a replica's process, which listens where it did before.
func (g *group) start(ctx context.Context, id replication.ReplicaID) error {
	c, err := startChild(g.command, id, filepath.Join(g.directory, fmt.Sprintf("%d.log", id)), g.commits)
	if err != nil {
		return err
	}
	g.children[id-1] = c
	var address string
	if err := g.call(ctx, c, verbListen, listenRequest{Address: g.members[id], Audit: g.audit}, &address); err != nil {
		return err
	}
	g.members[id] = address
	return nil
}

func (g *group) open(ctx context.Context, c *child, create bool) error {
	return g.call(ctx, c, verbOpen, openRequest{
		Backend: g.backend, Durability: g.durability, Self: c.id, Members: g.members, Directory: g.place(c.id), Create: create, Terms: g.terms,
	}, nil)
}

func (g *group) call(ctx context.Context, c *child, verb string, body, result any) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.call(limited, verb, body, result)
}

// alive are those whose process runs.
func (g *group) alive() (running []*child) {
	for _, c := range g.children {
		if c == nil {
			continue
		}
		select {
		case <-c.exited:
		default:
			running = append(running, c)
		}
	}
	return running
}

// each does the same with all that are alive, at once.
func (g *group) each(do func(c *child) error) error {
	running := g.alive()
	failures := make([]error, len(running))
	var all sync.WaitGroup
	for i, c := range running {
		all.Go(func() { failures[i] = do(c) })
	}
	all.Wait()
	return errors.Join(failures...)
}

// ask has all that are alive answer the same, at once: their answers, in the order of alive.
func ask[T any](ctx context.Context, g *group, verb string, body any) ([]T, error) {
	running := g.alive()
	answers := make([]T, len(running))
	failures := make([]error, len(running))
	var all sync.WaitGroup
	for i, c := range running {
		all.Go(func() { failures[i] = g.call(ctx, c, verb, body, &answers[i]) })
	}
	all.Wait()
	return answers, errors.Join(failures...)
}

// poll looks at the group until what is seen is so, or patience or ctx ends.
func (g *group) poll(ctx context.Context, what string, so func(meters []Meter) bool) ([]Meter, error) {
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	for {
		meters, err := ask[Meter](ctx, g, verbMeter, nil)
		if err != nil {
			return nil, err
		}
		if so(meters) {
			return meters, nil
		}
		select {
		case <-time.After(pollPause):
		case <-limited.Done():
			return nil, fmt.Errorf("backends: %s with %s: %w; last seen: %+v", what, g.backend, context.Cause(limited), meters)
		}
	}
}

// awaitWhole waits until one replica leads, and all of them are in its view.
func (g *group) awaitWhole(ctx context.Context) error {
	_, err := g.poll(ctx, "a whole group", whole)
	return err
}

func whole(meters []Meter) bool {
	leading := 0
	for _, m := range meters {
		if m.Leading {
			leading++
		}
		if m.Protocol != "normal" || m.View != meters[0].View {
			return false
		}
	}
	return leading == 1
}

// load has the proposers of every process begin; those of the primary propose.
func (g *group) load(ctx context.Context, l loadRequest) error {
	l.Registers = g.terms.Registers
	first := g.loads * ProposersMax
	g.loads++
	return g.each(func(c *child) error {
		mine := l
		mine.First = uint32(c.id)<<24 + first
		return g.call(ctx, c, verbLoad, mine, nil)
	})
}

// rest ends the load, and adds up what became of all operations.
func (g *group) rest(ctx context.Context) (total Outcomes, err error) {
	all, err := ask[Outcomes](ctx, g, verbRest, nil)
	for _, o := range all {
		total = total.plus(o)
	}
	return total, err
}

func (o Outcomes) plus(other Outcomes) Outcomes {
	o.Acknowledged += other.Acknowledged
	o.Unknown += other.Unknown
	o.Refused += other.Refused
	if o.Failure == "" {
		o.Failure = other.Failure
	}
	return o
}

func outcomesOf(meters []Meter) (total Outcomes) {
	for _, m := range meters {
		total = total.plus(m.Outcomes)
	}
	return total
}

// settle waits until all that are alive have the same number of operations, and checks that their states are the same
// and have what was acknowledged, at least so many operations and at most so many.
func (g *group) settle(ctx context.Context, least, most uint64) error {
	meters, err := g.poll(ctx, "replicas with the same operations", func(meters []Meter) bool {
		for _, m := range meters {
			if m.State.Operations != meters[0].State.Operations || m.Applied < m.Commit {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return judge(meters, least, most)
}

// judge checks the states of replicas that have applied everything.
func judge(meters []Meter, least, most uint64) error {
	for _, m := range meters {
		switch s := m.State; {
		case s != meters[0].State:
			return fmt.Errorf("%w: replicas ended with %+v and %+v", ErrDiffers, meters[0].State, s)
		case s.Operations < least || s.Operations > most:
			return fmt.Errorf("%w: %d operations were applied, between %d and %d were to be", ErrDiffers, s.Operations, least, most)
		case s.Repeated > 0 || s.Malformed > 0:
			return fmt.Errorf("%w: %d operations repeated, %d malformed", ErrDiffers, s.Repeated, s.Malformed)
		}
	}
	return nil
}

// close ends all processes in order and removes the directory.
func (g *group) close(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := g.each(func(c *child) error { return c.end(limited) })
	return errors.Join(err, g.abandon())
}

// abandon kills what is left, and removes the directory.
func (g *group) abandon() error {
	for _, c := range g.children {
		if c != nil {
			c.kill()
		}
	}
	if err := os.RemoveAll(g.directory); err != nil {
		return fmt.Errorf("backends: %w", err)
	}
	return nil
}
