package shardserver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing/synctest"

	"github.com/viewline/viewline/replication"
)

// group is a twin of a replicated group: any number of replicas over one log that a test holds in its hands.
// Everything happens at once, in order, in the goroutine that asks first, unless the test holds it back.
type group struct {
	mu       sync.Mutex
	members  []*member
	view     replication.ViewNumber
	primary  *member
	log      [][]byte
	epoch    uint64
	present  []replication.Member // who the members are, as the group says; nil: it does not
	work     []func()
	draining bool
}

// member is one replica, as its server sees it.
type member struct {
	group   *group
	id      replication.ReplicaID
	machine replication.StateMachine
	events  chan replication.Event

	// Guarded by the group's mu.
	applied      int
	lagging      bool // applies nothing
	holdSubmits  bool
	holdBarriers bool
	submits      []func(commit bool)
	barriers     []func()
	refuse       error // what Submit answers, if set
	submitted    int
	closed       bool
}

func newGroup(machines ...replication.StateMachine) *group {
	g := &group{epoch: 7}
	for i, machine := range machines {
		g.members = append(g.members, &member{
			group: g, id: replication.ReplicaID(i + 1), machine: machine, events: make(chan replication.Event, 1),
		})
	}
	return g
}

// do takes a piece of work in its turn. Nobody waits for it.
func (g *group) do(work func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.work = append(g.work, work)
	if g.draining {
		return
	}
	g.draining = true
	for len(g.work) > 0 {
		next := g.work[0]
		g.work = g.work[1:]
		g.mu.Unlock()
		next()
		g.mu.Lock()
	}
	g.draining = false
}

// append logs an operation and has everybody apply what they lack; at is told its place and result.
func (g *group) append(by *member, operation []byte, done func(replication.Result)) {
	g.do(func() {
		g.mu.Lock()
		g.log = append(g.log, operation)
		op := len(g.log)
		g.mu.Unlock()
		value := []byte(nil)
		for _, m := range g.members {
			if results := m.catchUp(); m == by && len(results) > 0 {
				value = results[len(results)-1]
			}
		}
		done(replication.Result{Op: replication.OpNumber(op), Value: value})
	})
}

// catchUp applies what the member lacks of the log.
func (m *member) catchUp() [][]byte {
	m.group.mu.Lock()
	operations := slices.Clone(m.group.log[m.applied:])
	first := replication.OpNumber(m.applied + 1)
	if m.lagging {
		operations = nil
	}
	m.applied += len(operations)
	m.group.mu.Unlock()
	if len(operations) == 0 {
		return nil
	}
	return m.machine.Apply(first, operations)
}

// lead makes a member primary of the next view and waits until that has settled. Those who led before hear of
// it unless they are deaf.
func (g *group) lead(m *member, deaf ...*member) {
	g.change(m, deaf...)
	synctest.Wait()
}

func (g *group) change(m *member, deaf ...*member) {
	g.mu.Lock()
	g.view++
	before := g.primary
	g.primary = m
	view := g.view
	m.lagging = false
	g.mu.Unlock()
	g.do(func() { m.catchUp() })
	if before != nil && before != m && !slices.Contains(deaf, before) {
		before.tell(replication.Event{View: view})
	}
	m.tell(replication.Event{Leading: true, View: view})
}

// tell keeps the newest event only, as the contract allows.
func (m *member) tell(event replication.Event) {
	select {
	case <-m.events:
	default:
	}
	m.events <- event
}

// hold keeps back what the member is given from now on; release lets it go on, in order: an operation is
// committed though its view may be over by now (as one can be that was logged before the view changed).
func (m *member) hold(submits, barriers bool) {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.holdSubmits, m.holdBarriers = submits, barriers
}

func (m *member) release() { m.settle(true) }

// lose gives up what is held back: nobody knows what becomes of it.
func (m *member) lose() { m.settle(false) }

// round lets what is held back go on, and holds back what comes of it.
func (m *member) round() {
	m.group.mu.Lock()
	submits := m.submits
	m.submits = nil
	m.group.mu.Unlock()
	for _, submit := range submits {
		submit(true)
	}
}

func (m *member) settle(commit bool) {
	m.group.mu.Lock()
	submits, barriers := m.submits, m.barriers
	m.submits, m.barriers, m.holdSubmits, m.holdBarriers = nil, nil, false, false
	m.group.mu.Unlock()
	for _, submit := range submits {
		submit(commit)
	}
	for _, barrier := range barriers {
		barrier()
	}
}

// lag stops the member from applying anything, until it leads.
func (m *member) lag() {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.lagging = true
}

func (m *member) setRefuse(err error) {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	m.refuse = err
}

func (m *member) submissions() int {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	return m.submitted
}

func (m *member) leads(view replication.ViewNumber) bool {
	return m.group.primary == m && m.group.view == view && !m.closed
}

func (m *member) notPrimary() error {
	err := &replication.NotPrimaryError{View: m.group.view}
	if m.group.primary != nil {
		err.Primary = m.group.primary.id
	}
	return err
}

func (m *member) Submit(view replication.ViewNumber, operation []byte, done func(replication.Result)) {
	m.group.mu.Lock()
	err := m.refuse
	if err == nil && !m.leads(view) {
		err = m.notPrimary()
	}
	if err != nil {
		m.group.mu.Unlock()
		done(replication.Result{Err: err})
		return
	}
	m.submitted++
	if m.holdSubmits {
		m.submits = append(m.submits, func(commit bool) {
			if !commit {
				done(replication.Result{Err: replication.ErrOutcomeUnknown})
				return
			}
			m.group.append(m, operation, done)
		})
		m.group.mu.Unlock()
		return
	}
	m.group.mu.Unlock()
	m.group.append(m, operation, done)
}

func (m *member) ReadBarrier(view replication.ViewNumber, done func(error)) {
	round := func() {
		m.group.mu.Lock()
		err := error(nil)
		if !m.leads(view) {
			err = m.notPrimary()
		}
		m.group.mu.Unlock()
		if err == nil {
			m.catchUp()
		}
		done(err)
	}
	m.group.mu.Lock()
	if m.holdBarriers {
		m.barriers = append(m.barriers, round)
		m.group.mu.Unlock()
		return
	}
	m.group.mu.Unlock()
	m.group.do(round)
}

func (m *member) Events() <-chan replication.Event { return m.events }

func (m *member) Status() replication.Status {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	status := replication.Status{Replica: m.id, View: m.group.view, Applied: replication.OpNumber(m.applied), Epoch: m.group.epoch}
	if m.group.primary != nil {
		status.Primary = m.group.primary.id
		status.Leading = m.group.primary == m
	}
	return status
}

func (m *member) Membership() replication.Membership {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	return replication.Membership{Epoch: m.group.epoch, Members: m.group.present}
}

func (m *member) Reconfigure(context.Context, replication.Change) (replication.Report, error) {
	return replication.Report{}, errors.ErrUnsupported
}

// reconfigured has the group be in its next epoch, with these members.
func (g *group) reconfigured(present ...replication.Member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.epoch++
	g.present = present
}

func (m *member) Checkpoint(context.Context) error { return nil }

func (m *member) Close() error {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.events)
	}
	return nil
}
